#include "tests/testing/op_spec.h"

#include <cmath>
#include <ostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "autograd/ops/elementwise.h"
#include "autograd/tape.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"

namespace lorikeet {
namespace {

using tensor::SameBits;

std::vector<Shape> Shapes(const OpSpec& spec) {
  std::vector<Shape> shapes;
  for (const SpecInput& in : spec.inputs) shapes.push_back(in.shape);
  return shapes;
}

// The same numbers for every dtype, but for rounding.
std::vector<Tensor> MakeInputs(const OpSpec& spec, const std::vector<Shape>& shapes, DType dtype) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const SpecInput& in = spec.inputs[i];
    inputs.push_back(tensor::RandomTensor(shapes[i], dtype, static_cast<uint32_t>(i + 1), in.lo, in.hi));
  }
  return inputs;
}

Tensor RandomLike(const Tensor& y) { return tensor::RandomTensor(y.shape(), y.dtype(), 99); }

std::vector<Tensor> CastAll(std::vector<Tensor> tensors, DType dtype) {
  for (Tensor& t : tensors) t = t.Cast(dtype);
  return tensors;
}

// x's elements in the middle of a larger tensor of NaN whose memory has the first and last dimension swapped: a kernel
// that ignores strides or steps over an edge returns NaN.
Tensor InsideNaN(const Tensor& x) {
  if (x.rank() == 0) return x;
  Shape outer;
  for (int64_t d : x.shape()) outer.push_back(d + 2);
  outer.set(0, x.dim(-1) + 2);
  outer.set(-1, x.dim(0) + 2);
  Tensor view = Tensor::Full(outer, NAN, x.dtype(), x.device()).Transpose(0, -1);
  for (int i = 0; i < x.rank(); ++i) view = view.Slice(i, 1, 1 + x.dim(i));
  tensor::CopyInto(x, view);
  return view;
}

void ExpectClose(const OpRun& got, const OpRun& want, double tolerance) {
  EXPECT_TRUE(AllClose(got.y, want.y, tolerance)) << "the value";
  for (size_t i = 0; i < want.grads.size(); ++i) {
    EXPECT_TRUE(AllClose(got.grads[i], want.grads[i], tolerance)) << "the gradient of input " << i;
  }
}

void ExpectSameBits(const OpRun& got, const OpRun& want) {
  EXPECT_TRUE(SameBits(got.y, want.y)) << "the value";
  for (size_t i = 0; i < want.grads.size(); ++i) {
    EXPECT_TRUE(SameBits(got.grads[i], want.grads[i])) << "the gradient of input " << i;
  }
}

// In f64, at the given shapes: value and gradients are what the definition or the reference and differences say.
void Prove(const OpSpec& spec, const std::vector<Shape>& shapes) {
  const std::vector<Tensor> inputs = MakeInputs(spec, shapes, DType::kF64);
  const OpRun run = RunOp(spec.op, inputs, RandomLike);
  if (spec.definition) {
    EXPECT_TRUE(AllClose(run.y, spec.definition(inputs), 1e-12)) << "the definition";
  } else {
    ExpectClose(run, RunOp(spec.reference, inputs, RandomLike), 1e-11);
  }
  const Tensor dy = RandomLike(run.y);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto loss = [&](const Tensor& moved) {
      std::vector<Variable> in(inputs.begin(), inputs.end());
      in[i] = moved;
      return tensor::Dot(spec.op(in).value(), dy);
    };
    ASSERT_EQ(run.grads[i].shape(), inputs[i].shape());
    EXPECT_TRUE(tensor::IsGradient(run.grads[i], loss, inputs[i])) << "central differences of input " << i;
  }
}

int64_t DeclaredBytes(const OpSpec& spec, const Tensor& y) {
  int64_t bytes = 0;
  for (absl::string_view word : absl::StrSplit(spec.saved, ' ', absl::SkipEmpty())) {
    const size_t bracket = word.find('[');
    if (bracket != absl::string_view::npos) {
      int64_t count = 0;
      EXPECT_TRUE(absl::SimpleAtoi(absl::StripSuffix(word.substr(bracket + 1), "]"), &count)) << word;
      bytes += count * (word.substr(0, bracket) == "i32" ? 4 : 8);
    } else if (word == "y") {
      bytes += y.nbytes();
    } else {
      bool known = false;
      for (const SpecInput& in : spec.inputs) {
        if (in.name != word) continue;
        bytes += in.shape.size() * 8;
        known = true;
      }
      EXPECT_TRUE(known) << word << " is no input of " << spec.name;
    }
  }
  return bytes;
}

// What spec.op gives on the CUDA device, brought back; `there` may make views of what arrived.
OpRun RunOnCuda(const OpSpec& spec, std::vector<Tensor> inputs, Tensor (*there)(const Tensor&)) {
  for (Tensor& x : inputs) x = there(x.To(Cuda(0)));
  OpRun run = RunOp(spec.op, inputs, [&](const Tensor& y) { return there(RandomLike(y).To(Cuda(0))); });
  run.y = run.y.To(kCpu);
  for (Tensor& g : run.grads) g = g.To(kCpu);
  return run;
}

Tensor AsItIs(const Tensor& x) { return x; }

}  // namespace

std::string SpecName(const testing::TestParamInfo<OpSpec>& info) { return info.param.name; }
void PrintTo(const OpSpec& spec, std::ostream* os) { *os << spec.name; }

OpRun RunOp(const Op& op, const std::vector<Tensor>& inputs, const std::function<Tensor(const Tensor& y)>& dy,
            const std::vector<bool>& constant) {
  OpRun run;
  run.grads.resize(inputs.size());
  Tape tape;
  std::vector<Variable> in;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool leaf = constant.empty() || !constant[i];
    in.push_back(leaf ? tape.Leaf(inputs[i], [&grad = run.grads[i]](Tensor g) { grad = g; }) : Variable(inputs[i]));
  }
  const Variable y = op(in);
  run.y = y.value();
  run.saved_bytes = tape.saved_bytes();
  tape.Backward(y, dy(y.value()));
  return run;
}

std::function<Tensor(Tensors)> Pointwise(double (*f)(double)) {
  return [f](Tensors in) {
    std::vector<double> values = tensor::Values(in[0]);
    for (double& v : values) v = f(v);
    return tensor::FromDoubles(values, in[0].shape(), DType::kF64);
  };
}

std::function<Tensor(Tensors)> Pointwise(double (*f)(double, double)) {
  return [f](Tensors in) {
    const Shape shape = tensor::BroadcastShape("definition", in[0].shape(), in[1].shape());
    std::vector<double> a = tensor::Values(in[0].Expand(shape)), b = tensor::Values(in[1].Expand(shape));
    for (size_t i = 0; i < a.size(); ++i) a[i] = f(a[i], b[i]);
    return tensor::FromDoubles(a, shape, DType::kF64);
  };
}

TEST_P(OpSpecTest, ValueAndGradientAreThoseOfTheDefinition) {
  ASSERT_NE(static_cast<bool>(GetParam().definition), static_cast<bool>(GetParam().reference));
  Prove(GetParam(), Shapes(GetParam()));
}

TEST_P(OpSpecTest, EmptyInputsAreLikeAnyOther) {
  for (const std::vector<Shape>& shapes : GetParam().empty) {
    SCOPED_TRACE(testing::PrintToString(shapes));
    Prove(GetParam(), shapes);
  }
}

TEST_P(OpSpecTest, NarrowDTypesRoundTheResultOfF64) {
  const OpSpec& spec = GetParam();
  for (DType dtype : spec.dtypes) {
    SCOPED_TRACE(Name(dtype));
    const std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), dtype);
    const OpRun got = RunOp(spec.op, inputs, RandomLike);
    const auto same_dy = [&](const Tensor&) { return RandomLike(got.y).Cast(DType::kF64); };
    ExpectClose(got, RunOp(spec.op, CastAll(inputs, DType::kF64), same_dy), spec.slack * tensor::Tolerance(dtype));
    for (size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(got.grads[i].dtype(), dtype) << "the gradient of input " << i;
  }
}

TEST_P(OpSpecTest, StridedViewsGiveWhatCopiesGive) {
  const OpSpec& spec = GetParam();
  std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), DType::kF64);
  const OpRun want = RunOp(spec.op, inputs, RandomLike);
  for (Tensor& x : inputs) x = InsideNaN(x);
  ExpectClose(RunOp(spec.op, inputs, [](const Tensor& y) { return InsideNaN(RandomLike(y)); }), want, 1e-13);
}

TEST_P(OpSpecTest, ExpandedViewsGiveWhatCopiesGive) {
  const OpSpec& spec = GetParam();
  std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), DType::kF64), copies;
  for (Tensor& x : inputs) {
    if (x.rank() > 0 && x.dim(0) > 0) x = x.Slice(0, 0, 1).Expand(x.shape());
    copies.push_back(x.Clone());
  }
  const auto expanded = [](const Tensor& y) { return Tensor::Scalar(0.75, y.dtype()).Expand(y.shape()); };
  const auto copied = [](const Tensor& y) { return Tensor::Full(y.shape(), 0.75, y.dtype()); };
  ExpectClose(RunOp(spec.op, inputs, expanded), RunOp(spec.op, copies, copied), 1e-13);
}

TEST_P(OpSpecTest, GradientsOfAnInputUsedTwiceAddUp) {
  const OpSpec& spec = GetParam();
  const std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), DType::kF64);
  OpRun want = RunOp(spec.op, inputs, RandomLike);
  want.y = tensor::Scale(want.y, 2);
  for (Tensor& g : want.grads) g = tensor::Scale(g, 2);
  ExpectClose(RunOp([&](In in) { return Add(spec.op(in), spec.op(in)); }, inputs, RandomLike), want, 1e-13);
}

TEST_P(OpSpecTest, OneTensorMayBeEveryInput) {
  const OpSpec& spec = GetParam();
  std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), DType::kF64);
  for (Tensor& x : inputs) {
    if (!(x.shape() == inputs[0].shape())) return;
    x = inputs[0];
  }
  const OpRun apart = RunOp(spec.op, inputs, RandomLike);
  Tensor sum = apart.grads[0];
  for (size_t i = 1; i < inputs.size(); ++i) sum = tensor::Add(sum, apart.grads[i]);
  const Op same = [&](In in) { return spec.op(std::vector<Variable>(inputs.size(), in[0])); };
  EXPECT_TRUE(AllClose(RunOp(same, {inputs[0]}, RandomLike).grads[0], sum, 1e-13));
}

TEST_P(OpSpecTest, ConstantsGetNoGradientAndChangeNoOther) {
  const OpSpec& spec = GetParam();
  const std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), DType::kF64);
  const OpRun all = RunOp(spec.op, inputs, RandomLike);
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<bool> constant(inputs.size(), true);
    constant[i] = false;
    const OpRun one = RunOp(spec.op, inputs, RandomLike, constant);
    EXPECT_TRUE(SameBits(one.y, all.y));
    for (size_t j = 0; j < inputs.size(); ++j) EXPECT_EQ(one.grads[j].defined(), j == i);
    EXPECT_TRUE(AllClose(one.grads[i], all.grads[i], 0)) << "input " << i;
  }
  Tape tape;
  const std::vector<Variable> constants(inputs.begin(), inputs.end());
  EXPECT_FALSE(spec.op(constants).needs_grad());
  EXPECT_EQ(tape.num_records(), 0);
}

TEST_P(OpSpecTest, TheTapeKeepsTheBytesThatAreDeclared) {
  const OpSpec& spec = GetParam();
  const OpRun run = RunOp(spec.op, MakeInputs(spec, Shapes(spec), DType::kF64), RandomLike);
  EXPECT_EQ(run.saved_bytes, DeclaredBytes(spec, run.y));
}

TEST_P(OpSpecTest, BitsDoNotDependOnTheNumberOfThreads) {
  const OpSpec& spec = GetParam();
  const std::vector<Tensor> inputs = MakeInputs(spec, spec.large.empty() ? Shapes(spec) : spec.large, DType::kF32);
  OpRun first;
  tensor::ForEachThreadCount([&] {
    const OpRun run = RunOp(spec.op, inputs, RandomLike);
    if (!first.y.defined()) first = run;
    ExpectSameBits(run, first);
  });
}

TEST_P(OpSpecTest, CudaGivesWhatTheCpuGivesAndTheSameBitsEachTime) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  const OpSpec& spec = GetParam();
  for (DType dtype : spec.dtypes) {
    SCOPED_TRACE(Name(dtype));
    const std::vector<Tensor> inputs = MakeInputs(spec, Shapes(spec), dtype);
    const OpRun want = RunOp(spec.op, inputs, RandomLike), got = RunOnCuda(spec, inputs, AsItIs);
    ExpectClose(got, want, 2 * spec.slack * tensor::Tolerance(dtype));  // either may be off by half of it
    ExpectSameBits(RunOnCuda(spec, inputs, AsItIs), got);
    ExpectClose(RunOnCuda(spec, inputs, InsideNaN), want, 2 * spec.slack * tensor::Tolerance(dtype));
  }
}

}  // namespace lorikeet
