#include "apps/training/loss_svg.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/training/number_text.h"

namespace lorikeet {
namespace {

constexpr double kWidth = 860, kHeight = 470;
constexpr double kLeft = 72, kRight = 28, kTop = 80, kBottom = 56;
// More points than this cannot be told apart in the frame's width.
constexpr size_t kMaxPoints = 1500;

constexpr char kTrainColor[] = "#2f6f9f", kEvalColor[] = "#d1495b", kInk[] = "#22303c", kGrid[] = "#e6eaee",
               kMuted[] = "#5f6f7d";

std::string Coordinate(double v) { return FixedDouble(v, 1); }

std::string Escape(absl::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // XML has no control characters.
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

struct Axis {
  double low, high;
  std::vector<double> ticks;  // inside
};

struct Frame {
  Axis x, y;
  double X(double step) const { return kLeft + (step - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double Y(double loss) const {
    const double y01 = (loss - y.low) / (y.high - y.low);
    return kHeight - kBottom - std::clamp(y01, 0.0, 1.0) * (kHeight - kTop - kBottom);
  }
};

std::vector<LossPoint> Finite(const std::vector<LossPoint>& points) {
  std::vector<LossPoint> kept;
  std::copy_if(points.begin(), points.end(), std::back_inserter(kept),
               [](const LossPoint& p) { return std::isfinite(p.loss); });
  return kept;
}

// Means over `width` points centred on each; fewer at the ends.
std::vector<LossPoint> Smooth(const std::vector<LossPoint>& points, int64_t half) {
  std::vector<double> sums = {0};
  for (const LossPoint& p : points) sums.push_back(sums.back() + p.loss);
  std::vector<LossPoint> out;
  const int64_t n = static_cast<int64_t>(points.size());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t reach = std::min({half, i, n - 1 - i});
    const double sum = sums[static_cast<size_t>(i + reach + 1)] - sums[static_cast<size_t>(i - reach)];
    out.push_back({points[static_cast<size_t>(i)].step, sum / static_cast<double>(2 * reach + 1)});
  }
  return out;
}

std::vector<LossPoint> Thin(const std::vector<LossPoint>& points) {
  const size_t stride = (points.size() + kMaxPoints - 1) / kMaxPoints;
  if (stride <= 1) return points;
  std::vector<LossPoint> out;
  for (size_t i = 0; i < points.size(); i += stride) out.push_back(points[i]);
  if (out.back().step != points.back().step) out.push_back(points.back());
  return out;
}

// The axis ends where the numbers do; only its ticks are round.
Axis RoundAxis(double low, double high, int count) {
  Axis axis = {low, high, {}};
  const double slack = 1e-9 * (high - low);
  for (double tick : RoundTicks(low, high, count)) {
    if (tick >= low - slack && tick <= high + slack) axis.ticks.push_back(tick);
  }
  return axis;
}

Axis LossAxis(const std::vector<LossPoint>& train, const std::vector<LossPoint>& smooth,
              const std::vector<LossPoint>& eval) {
  std::vector<double> losses;
  for (const LossPoint& p : train) losses.push_back(p.loss);
  std::sort(losses.begin(), losses.end());
  double low = 0, high = 1;
  if (!losses.empty()) low = losses.front(), high = losses[(losses.size() - 1) * 95 / 100];
  if (losses.empty() && !eval.empty()) low = high = eval.front().loss;
  for (const auto* points : {&smooth, &eval}) {
    for (const LossPoint& p : *points) low = std::min(low, p.loss), high = std::max(high, p.loss);
  }
  const double margin = high > low ? 0.06 * (high - low) : std::max(0.1 * std::fabs(low), 1e-3);
  return RoundAxis(low - margin, high + margin, 5);
}

std::string Text(double x, double y, absl::string_view attributes, absl::string_view text) {
  return absl::StrCat("<text x=\"", Coordinate(x), "\" y=\"", Coordinate(y), "\" ", attributes, ">", Escape(text),
                      "</text>\n");
}

std::string Polyline(const Frame& frame, const std::vector<LossPoint>& points, absl::string_view style) {
  std::string out = absl::StrCat("<polyline fill=\"none\" ", style, " points=\"");
  for (size_t i = 0; i < points.size(); ++i) {
    absl::StrAppend(&out, i > 0 ? " " : "", Coordinate(frame.X(static_cast<double>(points[i].step))), ",",
                    Coordinate(frame.Y(points[i].loss)));
  }
  return absl::StrCat(out, "\"/>\n");
}

// As many digits as tell neighbouring ticks apart.
std::string TickLabel(const Axis& axis, double tick) {
  const double gap = axis.ticks.size() > 1 ? axis.ticks[1] - axis.ticks[0] : std::fabs(tick);
  int digits = 0;
  for (double g = gap; digits < 6 && std::fabs(g - std::round(g)) > 1e-6 * gap; g *= 10) ++digits;
  return digits == 0 ? WithThousands(std::llround(tick)) : FixedDouble(tick, digits);
}

std::string Axes(const Frame& frame) {
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  std::string out;
  for (double tick : frame.y.ticks) {
    const std::string y = Coordinate(frame.Y(tick));
    absl::StrAppend(
        &out, "<path d=\"M", Coordinate(kLeft), " ", y, "H", Coordinate(right), "\" stroke=\"", kGrid, "\"/>\n",
        Text(kLeft - 10, frame.Y(tick) + 4, "class=\"tick\" text-anchor=\"end\"", TickLabel(frame.y, tick)));
  }
  for (double tick : frame.x.ticks) {
    absl::StrAppend(
        &out, "<path d=\"M", Coordinate(frame.X(tick)), " ", Coordinate(bottom), "v5\" stroke=\"", kMuted, "\"/>\n",
        Text(frame.X(tick), bottom + 20, "class=\"tick\" text-anchor=\"middle\"", TickLabel(frame.x, tick)));
  }
  absl::StrAppend(&out, "<path d=\"M", Coordinate(kLeft), " ", Coordinate(bottom), "H", Coordinate(right),
                  "\" stroke=\"", kMuted, "\"/>\n");
  absl::StrAppend(&out, Text((kLeft + right) / 2, kHeight - 14, "class=\"label\" text-anchor=\"middle\"", "step"));
  return absl::StrCat(out, "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(22 ",
                      Coordinate((kTop + bottom) / 2), ") rotate(-90)\">loss</text>\n");
}

std::string EvalMarks(const Frame& frame, const std::vector<LossPoint>& eval) {
  std::string out;
  if (eval.size() > 1) {
    out = Polyline(frame, eval,
                   absl::StrCat("stroke=\"", kEvalColor, "\" stroke-width=\"1.6\" stroke-dasharray=\"5 4\""));
  }
  for (const LossPoint& p : eval) {
    absl::StrAppend(&out, "<circle cx=\"", Coordinate(frame.X(static_cast<double>(p.step))), "\" cy=\"",
                    Coordinate(frame.Y(p.loss)), "\" r=\"4.5\" fill=\"", kEvalColor,
                    "\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>\n");
  }
  const auto value = [&](const LossPoint& p, double dx, absl::string_view anchor) {
    const double y = frame.Y(p.loss);
    // Above the point, unless that is outside the frame.
    out += Text(frame.X(static_cast<double>(p.step)) + dx, y - 11 > kTop ? y - 11 : y + 20,
                absl::StrCat("class=\"value\" text-anchor=\"", anchor, "\""), FixedDouble(p.loss, 3));
  };
  if (!eval.empty()) value(eval.front(), 8, "start");
  if (eval.size() > 1) value(eval.back(), 0, "end");
  return out;
}

std::string Legend(const LossPlot& plot) {
  double x = kWidth - kRight;
  std::string out;
  const auto entry = [&](absl::string_view name, absl::string_view mark, double width) {
    x -= width;
    absl::StrAppend(&out, "<g transform=\"translate(", Coordinate(x), " 54)\">", mark, "</g>\n",
                    Text(x + 26, 58, "class=\"label\"", name));
  };
  if (!plot.eval.empty()) {
    entry(
        "evaluation",
        absl::StrCat("<path d=\"M0 0h20\" stroke=\"", kEvalColor, "\" stroke-width=\"1.6\" stroke-dasharray=\"5 4\"/>",
                     "<circle cx=\"10\" r=\"4\" fill=\"", kEvalColor, "\"/>"),
        90);
  }
  if (!plot.train.empty()) {
    entry("training, smoothed", absl::StrCat("<path d=\"M0 0h20\" stroke=\"", kTrainColor, "\" stroke-width=\"2.4\"/>"),
          160);
  }
  return out;
}

}  // namespace

std::vector<double> RoundTicks(double low, double high, int count) {
  if (!(high > low)) {
    const double margin = std::max(0.5 * std::fabs(low), 0.5);
    low -= margin, high += margin;
  }
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double gap = 10 * power;
  for (double nice : {1.0, 2.0, 2.5, 5.0}) {
    if (nice * power >= raw * 0.999999) {
      gap = nice * power;
      break;
    }
  }
  std::vector<double> ticks;
  const int64_t first = static_cast<int64_t>(std::floor(low / gap + 1e-6));
  const int64_t last = static_cast<int64_t>(std::ceil(high / gap - 1e-6));
  for (int64_t i = first; i <= std::max(last, first + 1); ++i) ticks.push_back(static_cast<double>(i) * gap);
  return ticks;
}

std::string LossSvg(const LossPlot& plot) {
  const std::vector<LossPoint> train = Finite(plot.train), eval = Finite(plot.eval);
  const int64_t half = std::clamp<int64_t>(static_cast<int64_t>(train.size()) / 50, 2, 200);
  const std::vector<LossPoint> smooth = Smooth(train, half);
  int64_t last_step = 1;
  for (const auto* points : {&train, &eval}) {
    if (!points->empty()) last_step = std::max(last_step, points->back().step);
  }
  Frame frame{RoundAxis(0, static_cast<double>(last_step), 6), LossAxis(train, smooth, eval)};
  // Steps are whole.
  const auto fractional = [](double t) { return t != std::floor(t); };
  std::erase_if(frame.x.ticks, fractional);
  std::string out = absl::StrCat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kWidth, " ", kHeight, "\" width=\"", kWidth,
      "\" height=\"", kHeight,
      "\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n", "<title>",
      Escape(plot.title), "</title>\n<style>.tick{font-size:12px;fill:", kMuted, "}.label{font-size:13px;fill:", kMuted,
      "}.value{font-size:12px;font-weight:600;fill:", kEvalColor, "}.title{font-size:17px;font-weight:600;fill:", kInk,
      "}</style>\n", "<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#fbfcfd\"/>\n");
  absl::StrAppend(&out, Text(kLeft, 32, "class=\"title\"", plot.title), Legend(plot), Axes(frame));
  if (train.size() > 1) {
    absl::StrAppend(
        &out,
        Polyline(frame, Thin(train),
                 absl::StrCat("stroke=\"", kTrainColor, "\" stroke-opacity=\"0.35\" stroke-width=\"1\"")),
        Polyline(frame, Thin(smooth),
                 absl::StrCat("stroke=\"", kTrainColor,
                              "\" stroke-width=\"2.4\" stroke-linejoin=\"round\" stroke-linecap=\"round\"")));
  }
  return absl::StrCat(out, EvalMarks(frame, eval), "</svg>\n");
}

}  // namespace lorikeet
