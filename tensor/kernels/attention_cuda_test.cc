// CUDA attention, forward and backward, against the CPU's in f64 on the same inputs: ragged batches, masks, widths of
// heads on both sides of a tile's, strided tensors, and NaN where nobody looks.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::vector<int32_t> queries, keys;  // of each sequence
  int64_t heads = 2, kv_heads = 1, d = 64;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  int64_t pad = 0;  // what lies between heads in memory; odd: no head begins at 16 bytes
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "heads " << c.heads << "/" << c.kv_heads << " d " << c.d << " causal " << c.causal << " window "
             << c.window << " softcap " << c.softcap << " pad " << c.pad << " sequences " << c.queries.size() << "/"
             << (c.queries.empty() ? 0 : c.queries.back());
}

// A tensor [rows, heads, d] in the test's dtype; strided by c.pad on the device.
struct Operand {
  Tensor cpu, cuda;  // cpu: f64
};

Tensor Cumulative(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> cu = {0};
  for (int32_t n : lengths) cu.push_back(cu.back() + n);
  return Tensor::From<int32_t>(absl::MakeConstSpan(cu), {static_cast<int64_t>(cu.size())});
}

int64_t Total(const std::vector<int32_t>& lengths) {
  int64_t total = 0;
  for (int32_t n : lengths) total += n;
  return total;
}

// Values like a standard normal's, different for each `seed`.
Operand Make(int64_t rows, int64_t heads, int64_t d, int64_t pad, DType dtype, uint32_t seed) {
  std::vector<float> x(static_cast<size_t>(rows * heads * (d + pad)));
  uint32_t state = seed * 2654435761u + 12345;
  for (float& value : x) {
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<float>(state >> 8) / static_cast<float>(1 << 24) - 0.5f;
    }
    value = 2 * sum;
  }
  const Tensor base = Tensor::From<float>(absl::MakeConstSpan(x), {rows, heads, d + pad}).Cast(dtype);
  return {base.Slice(2, 0, d).Cast(DType::kF64).Contiguous(), base.To(Cuda(0)).Slice(2, 0, d)};
}

Tensor Strided(const Tensor& like, int64_t pad, DType dtype) {
  return Tensor::Zeros({like.dim(0), like.dim(1), like.dim(2) + pad}, dtype, Cuda(0)).Slice(2, 0, like.dim(2));
}

struct Outputs {
  Tensor y, lse, dq, dk, dv;
};

class Problem {
 public:
  Problem(const Case& c, DType dtype)
      : case_(c),
        dtype_(dtype),
        cu_q_(Cumulative(c.queries)),
        cu_k_(Cumulative(c.keys)),
        q(Make(Total(c.queries), c.heads, c.d, c.pad, dtype, 1)),
        k(Make(Total(c.keys), c.kv_heads, c.d, c.pad, dtype, 2)),
        v(Make(Total(c.keys), c.kv_heads, c.d, c.pad, dtype, 3)),
        dy(Make(Total(c.queries), c.heads, c.d, c.pad, dtype, 4)) {}

  // Sets a row of an operand to NaN, in every head and in both memories.
  void Poison(Operand* x, int64_t row) const {
    x->cpu = x->cpu.Clone();
    for (double& value : x->cpu.Slice(0, row, row + 1).data<double>()) value = kNan;
    x->cuda = x->cpu.Cast(dtype_).To(Cuda(0));
  }

  Outputs OnCpu() const {
    Outputs o = Allocate(DType::kF64, kCpu);
    kCpuAttention.attention(q.cpu.view(), k.cpu.view(), v.cpu.view(), Params(cu_q_, cu_k_), o.y.view(), o.lse.view(),
                            {});
    kCpuAttention.attention_grad(dy.cpu.view(), q.cpu.view(), k.cpu.view(), v.cpu.view(), o.y.view(), o.lse.view(),
                                 Params(cu_q_, cu_k_), o.dq.view(), o.dk.view(), o.dv.view(), {});
    return o;
  }

  Outputs OnDevice(bool grad = true) const {
    Outputs o = Allocate(dtype_, Cuda(0));
    const Tensor cu_q = cu_q_.To(Cuda(0)), cu_k = cu_k_.To(Cuda(0));
    kCudaAttention.attention(q.cuda.view(), k.cuda.view(), v.cuda.view(), Params(cu_q, cu_k), o.y.view(), o.lse.view(),
                             {});
    if (!grad) return o;
    kCudaAttention.attention_grad(dy.cuda.view(), q.cuda.view(), k.cuda.view(), v.cuda.view(), o.y.view(), o.lse.view(),
                                  Params(cu_q, cu_k), o.dq.view(), o.dk.view(), o.dv.view(), {});
    return o;
  }

 private:
  AttentionParams Params(const Tensor& cu_q, const Tensor& cu_k) const {
    return {.cu_seqlens_q = cu_q.view(),
            .cu_seqlens_k = cu_k.view(),
            .scale = 1 / std::sqrt(static_cast<float>(case_.d)) * 3,  // weights that differ
            .causal = case_.causal,
            .window = case_.window,
            .softcap = case_.softcap};
  }
  Outputs Allocate(DType dtype, Device device) const {
    const auto like = [&](const Tensor& x) {
      return device.is_cpu() ? Tensor::Zeros(x.shape(), dtype, device) : Strided(x, case_.pad, dtype);
    };
    return {like(q.cpu),
            Tensor::Zeros({q.cpu.dim(0), q.cpu.dim(1)}, dtype == DType::kF64 ? DType::kF64 : DType::kF32, device),
            like(q.cpu), like(k.cpu), like(v.cpu)};
  }

  Case case_;
  DType dtype_;
  Tensor cu_q_, cu_k_;

 public:
  Operand q, k, v, dy;
};

// Rows of `skip` (of dim 0) are not looked at.
void ExpectClose(const char* name, const Tensor& cuda, const Tensor& cpu, double tolerance, const Case& c,
                 const std::vector<int64_t>& skip = {}) {
  const Tensor got = cuda.Contiguous().To(kCpu).Cast(DType::kF64), want = cpu.Contiguous();
  ASSERT_EQ(got.size(), want.size());
  int shown = 0;
  for (int64_t i = 0; i < want.size() && shown < 4; ++i) {
    const int64_t row = i / (want.size() / want.dim(0));
    if (std::find(skip.begin(), skip.end(), row) != skip.end()) continue;
    const double g = got.data<double>()[i], w = want.data<double>()[i];
    if (g == w || std::abs(g - w) <= tolerance * (1 + std::abs(w))) continue;
    ADD_FAILURE() << c << ": " << name << " at row " << row << ", " << i << ": got " << g << ", want " << w;
    ++shown;
  }
}

class AttentionCudaTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
  // Weights, gradients of scores and the y that these are computed from are rounded to the type.
  double tolerance() const { return GetParam() == DType::kBF16 ? 0.06 : GetParam() == DType::kF16 ? 0.008 : 2e-5; }

  void ExpectForwardAgrees(const Case& c) const {
    const Problem p(c, GetParam());
    const Outputs want = p.OnCpu(), got = p.OnDevice(false);
    ExpectClose("y", got.y, want.y, tolerance(), c);
    ExpectClose("lse", got.lse, want.lse, 2e-5, c);
  }

  void ExpectAgrees(const Case& c) const {
    const Problem p(c, GetParam());
    const Outputs want = p.OnCpu(), got = p.OnDevice();
    ExpectClose("y", got.y, want.y, tolerance(), c);
    ExpectClose("lse", got.lse, want.lse, 2e-5, c);
    ExpectClose("dq", got.dq, want.dq, tolerance(), c);
    ExpectClose("dk", got.dk, want.dk, tolerance(), c);
    ExpectClose("dv", got.dv, want.dv, tolerance(), c);
  }
};

TEST_P(AttentionCudaTest, AgreesOnRaggedBatches) {
  ExpectAgrees({.queries = {1}, .keys = {1}});
  ExpectAgrees({.queries = {135, 0, 3, 65}, .keys = {135, 0, 3, 65}, .heads = 1});
  ExpectAgrees({.queries = {5, 70, 1}, .keys = {90, 70, 0}, .heads = 4, .kv_heads = 2});
}

TEST_P(AttentionCudaTest, AgreesOnMasks) {
  for (bool causal : {true, false}) {
    for (int64_t window : {0, 1, 20}) {
      for (float softcap : {0.0f, 1.5f}) {
        ExpectAgrees(
            {.queries = {70, 9}, .keys = {75, 9}, .heads = 1, .causal = causal, .window = window, .softcap = softcap});
      }
    }
  }
  ExpectAgrees({.queries = {10}, .keys = {40}, .causal = false, .window = int64_t{1} << 40});
}

TEST_P(AttentionCudaTest, AgreesOnEveryWidthOfHeads) {
  for (int64_t d : {1, 8, 80, 96, 128, 200, 256}) ExpectAgrees({.queries = {40}, .keys = {70}, .heads = 1, .d = d});
}

TEST_P(AttentionCudaTest, AgreesOnStridedTensors) {
  ExpectAgrees({.queries = {33, 4}, .keys = {33, 7}, .heads = 6, .kv_heads = 2, .pad = 8});
  ExpectAgrees({.queries = {33, 4}, .keys = {33, 7}, .heads = 3, .kv_heads = 3, .pad = 1});
  ExpectAgrees({.queries = {5}, .keys = {6}, .d = 20});
}

// Few queries a sequence: keys are divided into parts.
TEST_P(AttentionCudaTest, AgreesOnFewQueriesOverManyKeys) {
  ExpectForwardAgrees({.queries = {1, 2, 1, 0}, .keys = {150, 140, 1, 5}, .heads = 6, .kv_heads = 2});
  ExpectForwardAgrees({.queries = {1}, .keys = {260}, .heads = 17, .kv_heads = 1, .d = 80, .softcap = 1.5f, .pad = 1});
  ExpectForwardAgrees(
      {.queries = {2}, .keys = {200}, .heads = 1, .kv_heads = 1, .d = 256, .causal = false, .window = 150});
  ExpectForwardAgrees({.queries = {1}, .keys = {1}, .heads = 1, .kv_heads = 1, .pad = 8});
}

TEST_P(AttentionCudaTest, NanBeforeTheWindowReachesNoNewToken) {
  const Case c{.queries = {1, 2}, .keys = {200, 90}, .window = 40};
  const Outputs want = Problem(c, GetParam()).OnCpu();
  Problem p(c, GetParam());
  p.Poison(&p.k, 159);
  p.Poison(&p.v, 159);
  ExpectClose("y", p.OnDevice().y, want.y, tolerance(), c);
}

TEST_P(AttentionCudaTest, QueriesWithoutKeysAreZeroAndFeelNothing) {
  const Case c{.queries = {5, 3}, .keys = {3, 0}};  // the first two, and the last three
  ExpectAgrees(c);
  const Outputs got = Problem(c, GetParam()).OnDevice();
  for (int64_t i : {0, 1, 5, 7}) {
    EXPECT_EQ(got.lse.Slice(0, i, i + 1).Slice(1, 0, 1).To(kCpu).item(), -std::numeric_limits<double>::infinity());
    EXPECT_EQ(got.y.Slice(0, i, i + 1).Slice(1, 0, 1).Slice(2, 0, 1).Contiguous().To(kCpu).item(), 0);
  }
}

TEST_P(AttentionCudaTest, EmptyBatchesDoNothingAndUnseenKeysGetZeros) {
  ExpectAgrees({.queries = {}, .keys = {}});
  ExpectAgrees({.queries = {0}, .keys = {0}});
  ExpectAgrees({.queries = {0, 0}, .keys = {7, 2}});
  ExpectAgrees({.queries = {4}, .keys = {0}});
}

// A window of 3: query i sees keys i - 2 .. i, so row 20's NaNs reach 20 .. 22 forward, and 18 .. 22 backward.
TEST_P(AttentionCudaTest, NanInWhatIsNotSeenReachesNothing) {
  const Case c{.queries = {40, 5}, .keys = {40, 5}, .window = 3};
  const Outputs want = Problem(c, GetParam()).OnCpu();
  for (int which = 0; which < 4; ++which) {
    Problem p(c, GetParam());
    p.Poison(which == 0 ? &p.q : which == 1 ? &p.k : which == 2 ? &p.v : &p.dy, 20);
    const Outputs got = p.OnDevice();
    ExpectClose("y", got.y, want.y, tolerance(), c, {20, 21, 22});
    ExpectClose("lse", got.lse, want.lse, 2e-5, c, {20, 21, 22});
    ExpectClose("dq", got.dq, want.dq, tolerance(), c, {20, 21, 22});
    ExpectClose("dk", got.dk, want.dk, tolerance(), c, {18, 19, 20, 21, 22});
    ExpectClose("dv", got.dv, want.dv, tolerance(), c, {18, 19, 20, 21, 22});
    const Tensor seen = which == 3 ? got.dq : got.y;
    EXPECT_TRUE(std::isnan(seen.Slice(0, 20, 21).Slice(1, 0, 1).Slice(2, 0, 1).Contiguous().To(kCpu).item())) << which;
  }
}

TEST_P(AttentionCudaTest, TwoRunsGiveTheSameBits) {
  const Problem p({.queries = {90, 30}, .keys = {90, 30}, .heads = 4, .kv_heads = 2}, GetParam());
  const Outputs a = p.OnDevice(), b = p.OnDevice();
  for (const auto& [x, y] : {std::pair{a.y, b.y}, {a.lse, b.lse}, {a.dq, b.dq}, {a.dk, b.dk}, {a.dv, b.dv}}) {
    const Tensor one = x.To(kCpu).Cast(DType::kF64), two = y.To(kCpu).Cast(DType::kF64);
    for (int64_t i = 0; i < one.size(); ++i) ASSERT_EQ(one.data<double>()[i], two.data<double>()[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, AttentionCudaTest, testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const testing::TestParamInfo<DType>& info) { return Name(info.param); });

TEST(AttentionCudaDeathTest, HeadsOfMoreThan256AreRefused) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fork has no device
  const Problem p({.queries = {1}, .keys = {1}, .heads = 1, .d = 257}, DType::kF32);
  EXPECT_DEATH(p.OnDevice(), "heads of 257, expected 256 at most");
}

}  // namespace
}  // namespace lorikeet
