#include "tensor/kernels/attention_f32.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_bf16.h"
#include "tensor/kernels/attention_mask.h"
#include "tensor/kernels/attention_panel.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows.h"
#include "tensor/kernels/scratch.h"
#include "tensor/view.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kPanels = 4;  // that share a loaded tile
constexpr float kLog2E = std::numbers::log2e_v<float>, kLn2 = std::numbers::ln2_v<float>;

// The products of attention_panel.h under the names that BF16Products shares.
struct F32Products {
  static constexpr auto LoadTile = internal::LoadTile;
  static constexpr auto LoadPanel = internal::LoadPanel;
  static constexpr auto Accumulate = internal::Accumulate;
  static constexpr auto AccumulateTransposed = internal::AccumulateTransposed;
  static void ScoreProduct(const Window& w, const float* tile, int64_t d, int64_t width, const float* panel, float,
                           float* s) {
    internal::ScoreProduct(w, tile, d, width, panel, s);
  }
};

struct Geometry {
  Geometry(const View& q, const View& k, const AttentionParams& p)
      : params(p), d(q.dims[2]), width(RoundUp(d, kLaneStep)), kv_heads(k.dims[1]), group(q.dims[1] / k.dims[1]) {
    cap = p.softcap * kLog2E;
    factor = p.softcap > 0 ? p.scale / p.softcap : p.scale * kLog2E;
  }
  Rows Queries(const View& v, const Sequence& s, int64_t kv) const { return {v, s.q_begin, kv * group, group}; }
  Rows Keys(const View& v, const Sequence& s, int64_t kv) const { return {v, s.k_begin, kv, 1}; }
  // What query row `row` sees of the keys, and key `key` of the query rows.
  Run KeysOf(const Sequence& s, int64_t row) const { return VisibleKeys(params, s, row / group); }
  Run RowsOf(const Sequence& s, int64_t key) const {
    const Run r = VisibleQueries(params, s, key);
    return {r.begin * group, r.end * group};
  }

  const AttentionParams& params;
  int64_t d, width, kv_heads, group;
  float cap, factor;  // see attention_tile.h
};

constexpr int64_t kTaskRows = kPanels * kLanes;

// Some rows of one key-value head of one sequence: query rows, up to kTaskRows of them; backward: keys.
struct Task {
  Sequence sequence;
  int64_t kv, begin, end;
  int64_t chunk = 0;  // of the head's keys
};

// f(sequence, key-value head), in order.
template <typename F>
void ForEachHead(const Geometry& g, const F& f) {
  for (int64_t n = 0; n < SequenceCount(g.params); ++n) {
    for (int64_t kv = 0; kv < g.kv_heads; ++kv) f(SequenceAt(g.params, n), kv);
  }
}

std::vector<Task> QueryTasks(const Geometry& g) {
  std::vector<Task> tasks;
  ForEachHead(g, [&](const Sequence& s, int64_t kv) {
    const int64_t rows = s.queries * g.group;
    for (int64_t begin = 0; begin < rows; begin += kTaskRows) {
      tasks.push_back({s, kv, begin, std::min(begin + kTaskRows, rows)});
    }
  });
  return tasks;
}

// Cuts one block of the thread's scratch into arrays of floats.
class Arena {
 public:
  explicit Arena(int64_t floats)
      : at_(static_cast<float*>(ThreadScratch(kScratchAttention, static_cast<size_t>(floats) * sizeof(float)))) {}
  float* Take(int64_t floats) {
    float* p = at_;
    at_ += RoundUp(floats, kLaneStep);
    return p;
  }

 private:
  float* at_;
};

struct Panel {
  int64_t begin, lanes;
  Run seen[kLanes];
  float *left, *right;      // [width][kLanes]: q (or k), and dy (or v)
  float *sum_a, *sum_b;     // [kLanes][width]: y, or dk and dv
  float *max, *sum, *grow;  // [kLanes] of the running softmax
  float* rows;              // backward: k as a tile
  bool finite;              // what rows holds
};

// All that a task works in. The scores start at zero: masks replace numbers there, whatever they are, but an unset one
// could be mistaken for a mistake.
struct Workspace {
  Workspace(const Geometry& g, int64_t begin, int64_t end) : arena(Floats(g)) {
    for (float** tile : {&tile_a, &tile_b}) *tile = arena.Take(kTileRows * g.width);
    for (float** scores : {&s, &dp}) std::fill_n(*scores = arena.Take(kTileRows * kLanes), kTileRows * kLanes, 0.0f);
    for (; begin < end; begin += kLanes) {
      Panel& p = panels[count++];
      p.begin = begin;
      p.lanes = std::min(kLanes, end - begin);
      for (float** a : {&p.left, &p.right, &p.rows}) *a = arena.Take(g.width * kLanes);
      for (float** a : {&p.sum_a, &p.sum_b}) std::fill_n(*a = arena.Take(kLanes * g.width), kLanes * g.width, 0.0f);
      for (float** a : {&p.max, &p.sum, &p.grow}) std::fill_n(*a = arena.Take(kLanes), kLanes, 0.0f);
    }
  }
  static int64_t Floats(const Geometry& g) {
    const int64_t panel = 5 * kLanes * g.width + 3 * kLanes;
    return 2 * kTileRows * (g.width + kLanes) + kPanels * panel;
  }
  // The tile rows that any lane sees.
  Run Union() const {
    Run all = panels[0].seen[0];
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t r = 0; r < panels[i].lanes; ++r) {
        all.begin = std::min(all.begin, panels[i].seen[r].begin);
        all.end = std::max(all.end, panels[i].seen[r].end);
      }
    }
    return all;
  }

  Arena arena;
  Panel panels[kPanels];
  int64_t count = 0;
  float *tile_a, *tile_b, *s, *dp;
  Window window;
};

template <class Products>
void ForwardTask(const Geometry& g, const Task& task, const View& q, const View& k, const View& v, const View& y,
                 const View& lse) {
  const Rows q_rows = g.Queries(q, task.sequence, task.kv), y_rows = g.Queries(y, task.sequence, task.kv);
  const Rows k_rows = g.Keys(k, task.sequence, task.kv), v_rows = g.Keys(v, task.sequence, task.kv);
  Workspace w(g, task.begin, task.end);
  for (int64_t i = 0; i < w.count; ++i) {
    Panel& p = w.panels[i];
    Products::LoadPanel(q_rows, p.begin, p.lanes, g.width, g.factor, w.tile_a, p.left);
    std::fill_n(p.max, kLanes, -std::numeric_limits<float>::infinity());
    for (int64_t r = 0; r < p.lanes; ++r) p.seen[r] = g.KeysOf(task.sequence, p.begin + r);
  }
  const Run keys = w.Union();
  for (int64_t t = keys.begin; t < keys.end; t += kTileRows) {
    const int64_t n = std::min(kTileRows, keys.end - t);
    Products::LoadTile(k_rows, t, n, g.width, w.tile_a);
    const bool finite = Products::LoadTile(v_rows, t, n, g.width, w.tile_b);
    for (int64_t i = 0; i < w.count; ++i) {
      Panel& p = w.panels[i];
      w.window.Set(p.seen, p.lanes, t, n);
      if (w.window.empty) continue;
      Products::ScoreProduct(w.window, w.tile_a, g.d, g.width, p.left, g.factor, w.s);
      SoftmaxTile(w.window.Tile(w.s, g.cap), p.max, p.sum, p.grow);
      Products::Accumulate(w.window, w.s, w.tile_b, finite, g.width, p.grow, p.sum_a);
    }
  }
  for (int64_t i = 0; i < w.count; ++i) {
    const Panel& p = w.panels[i];
    for (int64_t r = 0; r < p.lanes; ++r) {
      q_rows.Of(lse, p.begin + r) = (p.max[r] + std::log2(p.sum[r])) * kLn2;  // nothing seen: -infinity
      p.grow[r] = p.sum[r] == 0 ? 0 : 1 / p.sum[r];
    }
    StoreRows(y_rows, p.begin, p.lanes, g.width, p.grow, 1, p.sum_a);
  }
}

struct GradViews {
  const View &dy, &q, &k, &v, &lse;
  View delta;  // [tokens, heads]: dy.y
};

// Heads are cut into chunks of keys where there are too few of them to keep threads busy; each chunk has a dq of its
// own, f32, in one buffer [chunks][query rows of all heads][width].
struct DqParts {
  static constexpr int64_t kTasks = 16;  // at least, if there are keys enough

  DqParts(const Geometry& g, int64_t tokens) : g(g), rows(tokens * g.kv_heads * g.group) {
    const int64_t heads = SequenceCount(g.params) * g.kv_heads;
    int64_t longest = 0;
    ForEachHead(g, [&](const Sequence& s, int64_t) { longest = std::max(longest, s.keys); });
    chunks = std::clamp<int64_t>((kTasks + heads - 1) / std::max<int64_t>(heads, 1), 1,
                                 std::max<int64_t>((longest + kTaskRows - 1) / kTaskRows, 1));
    data = static_cast<float*>(ThreadScratch(kScratchAttentionSums, static_cast<size_t>(chunks * rows * g.width) * 4));
  }
  // Of this sequence's heads: chunks of whole panels of keys.
  int64_t ChunksOf(const Sequence& s) const { return std::min(chunks, (s.keys + kTaskRows - 1) / kTaskRows); }
  float* At(const Sequence& s, int64_t kv, int64_t chunk) const {
    return data + (chunk * rows + s.q_begin * g.kv_heads * g.group + kv * s.queries * g.group) * g.width;
  }

  const Geometry& g;
  int64_t rows, chunks;
  float* data;
};

std::vector<Task> KeyTasks(const Geometry& g, const DqParts& parts) {
  std::vector<Task> tasks;
  ForEachHead(g, [&](const Sequence& s, int64_t kv) {
    const int64_t units = (s.keys + kTaskRows - 1) / kTaskRows, chunks = parts.ChunksOf(s);
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t begin = c * units / chunks * kTaskRows, end = (c + 1) * units / chunks * kTaskRows;
      tasks.push_back({s, kv, begin, std::min(end, s.keys), c});
    }
  });
  return tasks;
}

// Query rows [t, t + n) against all panels of keys: adds to their dk and dv, and to dq.
template <class Products>
void GradTiles(const Geometry& g, const Task& task, const GradViews& in, int64_t t, int64_t n, Workspace& w,
               float* dq) {
  const Rows q_rows = g.Queries(in.q, task.sequence, task.kv), dy_rows = g.Queries(in.dy, task.sequence, task.kv);
  const bool q_finite = Products::LoadTile(q_rows, t, n, g.width, w.tile_a);
  const bool dy_finite = Products::LoadTile(dy_rows, t, n, g.width, w.tile_b);
  float log_sum[kTileRows], delta[kTileRows];
  for (int64_t r = 0; r < n; ++r) {
    log_sum[r] = q_rows.Of(in.lse, t + r) * kLog2E;
    delta[r] = q_rows.Of(in.delta, t + r);
  }
  for (int64_t i = 0; i < w.count; ++i) {
    Panel& p = w.panels[i];
    w.window.Set(p.seen, p.lanes, t, n);
    if (w.window.empty) continue;
    Products::ScoreProduct(w.window, w.tile_a, g.d, g.width, p.left, g.factor, w.s);
    Products::ScoreProduct(w.window, w.tile_b, g.d, g.width, p.right, 1, w.dp);
    GradTile(w.window.Tile(w.s, g.cap), log_sum, delta, w.dp);
    Products::Accumulate(w.window, w.dp, w.tile_a, q_finite, g.width, nullptr, p.sum_a);
    Products::Accumulate(w.window, w.s, w.tile_b, dy_finite, g.width, nullptr, p.sum_b);
    Products::AccumulateTransposed(w.window, w.dp, p.rows, p.finite, g.width, dq + t * g.width);
  }
}

// Keys [begin, end), at most kTaskRows.
template <class Products>
void KeyGrads(const Geometry& g, const Task& task, const GradViews& in, int64_t begin, int64_t end, const View& dk,
              const View& dv, float* dq) {
  const Rows k_rows = g.Keys(in.k, task.sequence, task.kv), v_rows = g.Keys(in.v, task.sequence, task.kv);
  Workspace w(g, begin, end);
  for (int64_t i = 0; i < w.count; ++i) {
    Panel& p = w.panels[i];
    Products::LoadPanel(k_rows, p.begin, p.lanes, g.width, g.factor, w.tile_a, p.left);
    Products::LoadPanel(v_rows, p.begin, p.lanes, g.width, 1, w.tile_a, p.right);
    p.finite = Products::LoadTile(k_rows, p.begin, p.lanes, g.width, p.rows);
    for (int64_t r = 0; r < p.lanes; ++r) p.seen[r] = g.RowsOf(task.sequence, p.begin + r);
  }
  const Run rows = w.Union();
  for (int64_t t = rows.begin; t < rows.end; t += kTileRows) {
    GradTiles<Products>(g, task, in, t, std::min(kTileRows, rows.end - t), w, dq);
  }
  const Rows dk_rows = g.Keys(dk, task.sequence, task.kv), dv_rows = g.Keys(dv, task.sequence, task.kv);
  for (int64_t i = 0; i < w.count; ++i) {
    const Panel& p = w.panels[i];
    StoreRows(dk_rows, p.begin, p.lanes, g.width, nullptr, g.params.scale, p.sum_a);
    StoreRows(dv_rows, p.begin, p.lanes, g.width, nullptr, 1, p.sum_b);
  }
}

template <class Products>
void KeyGradTask(const Geometry& g, const Task& task, const GradViews& in, const DqParts& parts, const View& dk,
                 const View& dv) {
  float* dq = parts.At(task.sequence, task.kv, task.chunk);
  std::fill_n(dq, task.sequence.queries * g.group * g.width, 0.0f);
  for (int64_t begin = task.begin; begin < task.end; begin += kTaskRows) {
    KeyGrads<Products>(g, task, in, begin, std::min(begin + kTaskRows, task.end), dk, dv, dq);
  }
}

// dq = scale * the sum over chunks, for some query rows of a head.
void StoreDq(const Geometry& g, const Task& task, const DqParts& parts, const View& dq) {
  const int64_t chunks = parts.ChunksOf(task.sequence), n = (task.end - task.begin) * g.width;
  std::vector<float> sum(static_cast<size_t>(n), 0.0f);
  for (int64_t c = 0; c < chunks; ++c) {
    const float* part = parts.At(task.sequence, task.kv, c) + task.begin * g.width;
    for (int64_t i = 0; i < n; ++i) sum[static_cast<size_t>(i)] += part[i];
  }
  StoreRows(g.Queries(dq, task.sequence, task.kv), task.begin, task.end - task.begin, g.width, nullptr, g.params.scale,
            sum.data());
}

// delta [tokens, heads] = dy.y
void Delta(const View& dy, const View& y, const View& delta) {
  const int64_t heads = y.dims[1], d = y.dims[2];
  ParallelFor(y.dims[0], 16, [&](int64_t begin, int64_t end) {
    std::vector<float> a(static_cast<size_t>(d)), b(static_cast<size_t>(d));
    for (int64_t row = begin * heads; row < end * heads; ++row) {
      const int64_t t = row / heads, h = row % heads;
      const float* g = ReadRow(dy, t * dy.strides[0] + h * dy.strides[1], d, dy.strides[2], a.data());
      const float* x = ReadRow(y, t * y.strides[0] + h * y.strides[1], d, y.strides[2], b.data());
      float sum = 0;
      for (int64_t i = 0; i < d; ++i) sum += g[i] * x[i];
      delta.ptr<float>()[row] = sum;
    }
  });
}

template <typename F>
void ForEachTask(const std::vector<Task>& tasks, const F& f) {
  ParallelFor(static_cast<int64_t>(tasks.size()), 1,
              [&](int64_t begin, int64_t) { f(tasks[static_cast<size_t>(begin)]); });
}

template <class Products>
void Forward(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
             const View& lse) {
  const Geometry g(q, k, params);
  ForEachTask(QueryTasks(g), [&](const Task& task) { ForwardTask<Products>(g, task, q, k, v, y, lse); });
}

template <class Products>
void Backward(const GradViews& in, const AttentionParams& params, const View& dq, const View& dk, const View& dv) {
  const Geometry g(in.q, in.k, params);
  const DqParts parts(g, in.q.dims[0]);
  ForEachTask(KeyTasks(g, parts), [&](const Task& task) { KeyGradTask<Products>(g, task, in, parts, dk, dv); });
  ForEachTask(QueryTasks(g), [&](const Task& task) { StoreDq(g, task, parts, dq); });
}

bool DotsBF16(const View& q) { return q.dtype == DType::kBF16 && HaveBF16Dot(); }

}  // namespace

void AttentionF32(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                  const View& lse) {
  const auto run = DotsBF16(q) ? Forward<BF16Products> : Forward<F32Products>;
  run(q, k, v, params, y, lse);
}

void AttentionGradF32(const View& dy, const View& q, const View& k, const View& v, const View& y, const View& lse,
                      const AttentionParams& params, const View& dq, const View& dk, const View& dv) {
  std::vector<float> delta(static_cast<size_t>(q.dims[0] * q.dims[1]));
  GradViews in{dy, q, k, v, lse, {}};
  in.delta = {.data = delta.data(), .rank = 2, .dims = {q.dims[0], q.dims[1]}, .strides = {q.dims[1], 1}};
  Delta(dy, y, in.delta);
  const auto run = DotsBF16(q) ? Backward<BF16Products> : Backward<F32Products>;
  run(in, params, dq, dk, dv);
}

}  // namespace lorikeet::internal
