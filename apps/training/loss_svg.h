// loss.svg: the loss of a run as a picture that any browser shows.
//
//   LossPlot plot = {.title = "SmolLM2-135M-Instruct, qlora, r = 16"};
//   plot.train = {{1, 2.31}, {2, 2.24}, ...};
//   plot.eval = {{0, 2.35}, {100, 1.87}};
//   absl::Status status = WriteFileAtomically("out/loss.svg", LossSvg(plot));
//
// The training loss thin, its running mean (centred, over a twenty-fifth of the steps) above it, evaluations as points
// with their values at both ends. Axes have round ticks; the largest twentieth of noisy losses may touch the frame's
// top rather than flatten the rest. The background is its own, so the picture reads the same on a dark page; fonts are
// the reader's. The same numbers give the same bytes. Losses that are not finite are gaps. Threads: any. Errors: none.
#ifndef LORIKEET_APPS_TRAINING_LOSS_SVG_H_
#define LORIKEET_APPS_TRAINING_LOSS_SVG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lorikeet {

struct LossPoint {
  int64_t step = 0;
  double loss = 0;
};

struct LossPlot {
  std::string title;
  std::vector<LossPoint> train, eval;  // ascending steps
};

std::string LossSvg(const LossPlot& plot);

// Round numbers from at or below `low` to at or above `high`, about `count` of them: 1, 2, 2.5 or 5 times a power of
// ten apart.
std::vector<double> RoundTicks(double low, double high, int count);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_LOSS_SVG_H_
