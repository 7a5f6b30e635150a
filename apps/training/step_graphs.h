// StepGraphs: the passes of a training step as captured graphs, where shapes repeat; as they are, where not.
//
//   StepGraphs graphs(parameters, [&](const MicroBatch& b) { return ForwardAndBackward(b); });
//   graphs.BeginStep();                                   // gradients are zero
//   for (const MicroBatch& b : micro_batches) losses.push_back(graphs.Run(b));
//   ... the optimizer reads the gradients ...
//   graphs.EndStep();
//
// A small model's pass is a thousand kernels of some microseconds each: the host, which gives them one by one, is what
// it waits for. The second time that a shape (tokens, sequences, answers) comes up the pass is captured
// (tensor/cuda_graph.h); from then on it is one launch. Batches should be padded (model_batch.h, FindAnswers), so that
// shapes do repeat. What stays as it is: a first time, a parameter that the pass does not reach, a batch without an
// answer, and every shape beyond the first kMaxGraphs.
// A pass must be a function of the batch and of the parameters' values alone: a number that it has from the host would
// be that of the capture for ever, so a dropout key is read from the batch. Gradients live in the same memory from step
// to step: a pass adds to what is there. Memory: the activations of the largest shape, once more, for the graphs.
// Ownership: parameters, and what the pass refers to, outlive the graphs. Threads: one.
#ifndef LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_
#define LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "autograd/parameter.h"
#include "nn/batch.h"
#include "nn/linear_cross_entropy.h"
#include "tensor/cuda_graph.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct MicroBatch {
  Batch inputs;
  Answers answers;
  Tensor key;  // an RngKey's 16 bytes, or undefined: for a pass that draws random numbers
};

class StepGraphs {
 public:
  static constexpr size_t kMaxGraphs = 64;
  // Multiples that padding should make (a dozen shapes then cover ragged batches; a pass grows by a few percent).
  static constexpr int64_t kTokens = 64, kSequences = 16, kAnswers = 64;

  using Pass = std::function<RowLosses(const MicroBatch&)>;
  StepGraphs(std::vector<Parameter*> parameters, Pass pass);

  void BeginStep();
  RowLosses Run(const MicroBatch& batch);
  void EndStep();

  int64_t launches() const { return launches_; }  // of graphs that stood for a pass

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t>;
  struct Shape {
    bool seen = false;
    std::unique_ptr<CudaGraph> graph;
    MicroBatch batch;  // what it reads
    RowLosses losses;  // what it writes
  };
  bool Capturable(const MicroBatch& batch) const;
  void Capture(const MicroBatch& batch, Shape* shape);
  void ZeroGradients();

  std::vector<Parameter*> parameters_;
  Pass pass_;
  std::map<Key, Shape> shapes_;
  std::vector<Tensor> gradients_;  // between steps
  std::unique_ptr<CudaGraph> zero_;
  int64_t launches_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_
