#include "autograd/tape.h"

#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "autograd/checkpoint.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/reduce.h"
#include "autograd/parameter.h"
#include "autograd/saved_value.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "tensor/ops/elementwise.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Tensor Doubles(std::initializer_list<double> values) {
  return Tensor::From<double>(values, {static_cast<int64_t>(values.size())});
}
Parameter Trainable(std::initializer_list<double> values) { return {.name = "p", .value = Doubles(values)}; }
std::vector<double> Values(const Tensor& t) {
  const Tensor c = t.Contiguous();
  return {c.data<double>().begin(), c.data<double>().end()};
}
Tensor One() { return Tensor::Scalar(1, DType::kF64); }

TEST(TapeTest, AParameterUsedTwiceGetsTheSumOfBothGradients) {
  Parameter p = Trainable({2, 3});
  Tape tape;
  const Variable x = Use(p);
  tape.Backward(Sum(Add(Mul(x, x), x)), One());  // d(x^2 + x) = 2x + 1
  EXPECT_EQ(Values(p.grad), (std::vector<double>{5, 7}));
}

TEST(TapeTest, GradientsAddUpOverBackwardCalls) {
  Parameter p = Trainable({2});
  for (int i = 0; i < 3; ++i) {
    Tape tape;
    tape.Backward(Sum(Scale(Use(p), 10)), One());
  }
  EXPECT_EQ(Values(p.grad), (std::vector<double>{30}));
}

TEST(TapeTest, SharedGradientsAreNotOverwrittenByALaterSum) {
  // Add hands the same dy to both inputs; summing into one of them in place would corrupt the other.
  Parameter p = Trainable({1}), q = Trainable({1});
  Tape tape;
  const Variable a = Scale(Use(p), 1), b = Scale(Use(q), 1);
  const Variable twice = Add(a, Add(a, b));
  tape.Backward(Sum(twice), One());
  EXPECT_EQ(Values(p.grad), (std::vector<double>{2}));
  EXPECT_EQ(Values(q.grad), (std::vector<double>{1}));
}

TEST(TapeTest, WithoutATapeNothingIsRecorded) {
  Parameter p = Trainable({2});
  EXPECT_FALSE(Mul(Use(p), Use(p)).needs_grad());
  Tape tape;
  {
    Tape::Pause pause;
    EXPECT_FALSE(Square(Use(p)).needs_grad());
  }
  EXPECT_TRUE(Square(Use(p)).needs_grad());
}

TEST(TapeTest, AFrozenParameterIsAConstantAndKeepsNoGradient) {
  Parameter p = Trainable({2}), frozen = {.name = "f", .value = Doubles({3}), .trainable = false};
  Tape tape;
  tape.Backward(Sum(Mul(Use(p), Use(frozen))), One());
  EXPECT_EQ(Values(p.grad), (std::vector<double>{3}));
  EXPECT_FALSE(frozen.grad.defined());
}

TEST(TapeTest, ALeafIsToldOnceWhenItsGradientIsComplete) {
  Tape tape;
  int calls = 0;
  Tensor got;
  const Variable x = tape.Leaf(Doubles({3}), [&](Tensor g) { ++calls, got = g; });
  tape.Leaf(Doubles({1}), [&](Tensor) { ADD_FAILURE() << "an unused leaf has no gradient"; });
  tape.Backward(Sum(Mul(x, Mul(x, x))), One());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(Values(got), (std::vector<double>{27}));
}

TEST(TapeTest, AGradientHasItsInputsDTypeWhateverItsRuleComputesIn) {
  // RmsNorm sums dw in f32, Mul gives it in bf16: both add into one bf16 gradient.
  Tape tape;
  Tensor got;
  const Tensor ones = Tensor::Full({2}, 1, DType::kBF16);
  const Variable w = tape.Leaf(ones, [&](Tensor g) { got = g; });
  const Variable x = Tensor::Full({1, 2}, 1, DType::kBF16);
  tape.Backward(Add(RmsNorm(x, w, 0x1p-60f), Mul(x, w)), Tensor::Full({1, 2}, 1, DType::kBF16));
  EXPECT_EQ(got.dtype(), DType::kBF16);
  EXPECT_EQ(Values(got.Cast(DType::kF64)), (std::vector<double>{2, 2}));
}

TEST(TapeTest, ALeafUsedAThousandTimesGetsTheSum) {
  Parameter p = Trainable({1});
  Tape tape;
  const Variable x = Use(p);
  Variable sum = x;
  for (int i = 0; i < 999; ++i) sum = Add(sum, x);
  tape.Backward(sum, Doubles({1}));
  EXPECT_EQ(Values(p.grad), (std::vector<double>{1000}));
}

TEST(TapeTest, RecordManyGivesItsRuleEveryGradientAtOnce) {
  Parameter p = Trainable({1, 2});
  Tape tape;
  const Tensor v = p.value;
  const std::vector<Variable> both = RecordMany("Split", {Use(p)}, {tensor::Scale(v, 2), tensor::Scale(v, 3), v}, {},
                                                [](absl::Span<Tensor>, absl::Span<const Tensor> dys, GradSink& grad) {
                                                  ASSERT_EQ(dys.size(), 3u);
                                                  EXPECT_FALSE(dys[2].defined());
                                                  grad.Add(0, tensor::Scale(dys[0], 2));
                                                  grad.Add(0, tensor::Scale(dys[1], 3));
                                                });
  tape.Backward(Sum(Add(both[0], both[1])), One());
  EXPECT_EQ(Values(p.grad), (std::vector<double>{5, 5}));
}

TEST(TapeTest, SavedTensorsAreCountedOnceAndFreedByBackward) {
  Parameter p = Trainable({1, 2, 3, 4});
  Tape tape;
  const Variable x = Use(p);
  const Variable y = Mul(x, x);  // saves x twice
  EXPECT_EQ(tape.saved_bytes(), 32);
  EXPECT_NE(tape.Report().find("Mul: 1 records, 32 bytes saved"), std::string::npos) << tape.Report();
  const int64_t holders = p.value.use_count();
  tape.Backward(Sum(y), One());
  EXPECT_EQ(tape.saved_bytes(), 0);
  EXPECT_LT(p.value.use_count(), holders);
}

// A square that is computed again for whoever saves it, and how often that happened.
Variable CheapSquare(const Variable& x, int* again) {
  Variable y = Record("CheapSquare", {x}, tensor::Square(x.value()), {x.value()},
                      [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                        grad.Add(0, tensor::Mul(tensor::Scale(saved[0], 2), dy));
                      });
  return Recomputed(y, [x = x.value(), again] {
    ++*again;
    return tensor::Square(x);
  });
}
// y^2, which saves y as a variable: by its recipe.
Variable Outer(const Variable& y) {
  return Record("Outer", {y}, tensor::Square(y.value()), {y},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  grad.Add(0, tensor::Mul(tensor::Scale(saved[0], 2), dy));
                });
}

TEST(TapeTest, ACheapValueIsKeptByNobodyAndComputedAgainOnceForAll) {
  Parameter p = Trainable({1, 2, 3});
  int again = 0;
  Tape tape;
  Variable loss;
  {
    const Variable y = CheapSquare(Use(p), &again);
    loss = Sum(Add(Outer(y), Outer(y)));  // 2x^4
  }
  EXPECT_EQ(tape.saved_bytes(), 24);  // x alone
  EXPECT_EQ(again, 0);
  tape.Backward(loss, One());
  EXPECT_EQ(again, 1);
  EXPECT_EQ(Values(p.grad), (std::vector<double>{8, 64, 216}));
}

TEST(TapeTest, TheLastRecordThatSavedACheapValueOwnsIt) {
  Parameter p = Trainable({1, 2});
  int again = 0;
  std::vector<int64_t> holders;
  Tape tape;
  const auto count = [&](const Variable& y) {
    return Record("Count", {y}, y.value(), {y}, [&](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
      holders.push_back(saved[0].use_count());
      grad.Add(0, dy);
    });
  };
  Variable loss;
  {
    const Variable y = CheapSquare(Use(p), &again);
    loss = Sum(Add(Scale(count(y), 1), Scale(count(y), 1)));
  }
  tape.Backward(loss, One());
  EXPECT_EQ(holders, (std::vector<int64_t>{2, 1}));  // the recipe still has it for the other; then nobody else
}

TEST(TapeTest, AMillionRecordsUnwindWithoutRecursion) {
  Parameter p = Trainable({1});
  Tape tape;
  Variable x = Use(p);
  for (int i = 0; i < 1000000; ++i) x = AddScalar(x, 0);
  tape.Backward(Sum(x), One());
  EXPECT_EQ(Values(p.grad), (std::vector<double>{1}));
}

TEST(CheckpointTest, GradientsEqualThoseOfTheDirectRun) {
  Parameter p = Trainable({0.5, -1}), q = Trainable({0.5, -1});
  const auto f = [](const Variable& x, Parameter& w) { return Exp(Mul(Tanh(x), Use(w))); };
  const Tensor input = Doubles({0.3, 0.7});
  Tensor direct, checkpointed;
  {
    Tape tape;
    const Variable x = tape.Leaf(input, [&](Tensor g) { direct = g; });
    tape.Backward(Sum(f(x, p)), One());
  }
  {
    Tape tape;
    const Variable x = tape.Leaf(input, [&](Tensor g) { checkpointed = g; });
    const Variable y = Checkpoint([&](absl::Span<const Variable> in) { return f(in[0], q); }, {x});
    EXPECT_EQ(tape.num_records(), 2);  // the leaf and the checkpoint
    tape.Backward(Sum(y), One());
  }
  EXPECT_EQ(Values(direct), Values(checkpointed));
  EXPECT_EQ(Values(p.grad), Values(q.grad));
}

TEST(CheckpointTest, AFrozenInputWithTrainableParametersInsideStillTrains) {
  Parameter p = Trainable({2});
  Tape tape;
  const Variable y =
      Checkpoint([&](absl::Span<const Variable> in) { return Mul(in[0], Use(p)); }, {Variable(Doubles({5}))});
  ASSERT_TRUE(y.needs_grad());
  tape.Backward(Sum(y), One());
  EXPECT_EQ(Values(p.grad), (std::vector<double>{5}));
}

TEST(CheckpointTest, NothingTrainableInsideMeansNothingRecorded) {
  Tape tape;
  const Variable y = Checkpoint([](absl::Span<const Variable> in) { return Square(in[0]); }, {Variable(Doubles({5}))});
  EXPECT_FALSE(y.needs_grad());
}

// 2x, saving x; counts how often it is computed, and who holds x when its rule runs.
struct Doubling {
  Variable operator()(const Variable& x) {
    Deferred y(x.shape(), x.dtype(), x.device(), [this, x] {
      ++computed;
      return tensor::Scale(x.value(), 2);
    });
    return Record("Doubling", {x}, std::move(y), {x},
                  [this](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                    holders = saved[0].use_count();
                    grad.Add(0, tensor::Scale(dy, 2));
                  });
  }
  int computed = 0;
  int64_t holders = 0;
};

TEST(CheckpointTest, TheSecondRunComputesOnlyWhatARecordSaves) {
  Parameter p = Trainable({2, 3});
  Doubling saved, end;
  const auto f = [&](absl::Span<const Variable> in) {
    return Add(in[0], end(Square(saved(Mul(in[0], Use(p))))));  // x + 8 (px)^2
  };
  Tape tape;
  Variable y = Checkpoint(f, {Variable(Doubles({5, 7}))});
  EXPECT_EQ(Values(y.value()), (std::vector<double>{5 + 800, 7 + 3528}));
  tape.Backward(Sum(y), One());
  EXPECT_EQ(saved.computed, 2);
  EXPECT_EQ(end.computed, 1);
  EXPECT_EQ(end.holders, 1);  // what would have computed the end let go of its input
  EXPECT_EQ(Values(p.grad), (std::vector<double>{16 * 25 * 2, 16 * 49 * 3}));
}

// x^2 and 2x through Kept; counts how often they are computed.
struct KeptSquare {
  Variable operator()(const Variable& x) {
    const std::vector<Tensor> v = Kept([&] {
      ++computed;
      return std::vector<Tensor>{tensor::Square(x.value()), tensor::Scale(x.value(), 2)};
    });
    return Record("KeptSquare", {x}, v[0], {v[1]}, [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
      grad.Add(0, tensor::Mul(saved[0], dy));
    });
  }
  int computed = 0;
};

TEST(CheckpointTest, WhatIsKeptIsNotComputedAgain) {
  for (const bool keep : {false, true}) {
    Parameter p = Trainable({2, 3});
    KeptSquare square;
    const auto f = [&](absl::Span<const Variable> in) { return square(square(Mul(in[0], Use(p)))); };  // (px)^4
    Tape tape;
    Variable y = Checkpoint(f, {Variable(Doubles({5, 1}))}, keep);
    EXPECT_EQ(tape.saved_bytes(), keep ? 16 + 4 * 16 : 16);
    tape.Backward(Sum(y), One());
    EXPECT_EQ(square.computed, keep ? 2 : 4);
    EXPECT_EQ(Values(p.grad), (std::vector<double>{4 * 1000 * 5, 4 * 27}));
  }
}

TEST(CheckpointTest, OneInsideAnotherKeepsForItself) {
  for (const bool keep : {false, true}) {
    Parameter p = Trainable({2});
    KeptSquare outer, inner;
    Tape tape;
    Variable y = Checkpoint(
        [&](absl::Span<const Variable> in) {
          const Variable x = Mul(in[0], Use(p));
          return outer(Checkpoint([&](absl::Span<const Variable> in) { return inner(in[0]); }, {x}, keep));
        },
        {Variable(Doubles({5}))}, /*keep=*/true);
    tape.Backward(Sum(y), One());
    EXPECT_EQ(Values(p.grad), (std::vector<double>{4 * 1000 * 5}));
    EXPECT_EQ(outer.computed, 1);
    EXPECT_EQ(inner.computed, keep ? 2 : 3);  // in each run of the outer one, and once more
  }
}

TEST(CheckpointTest, ADeferredValueIsComputedOnceForAllWhoAsk) {
  Doubling d;
  Tape tape(Tape::Values::kWhenAsked);
  const Variable y = d(tape.Leaf(Doubles({1, 2}), [](Tensor) {}));
  EXPECT_EQ(y.shape(), Shape({2}));
  EXPECT_EQ(y.dtype(), DType::kF64);
  EXPECT_EQ(d.computed, 0);
  EXPECT_EQ(Values(Add(y, y).value()), (std::vector<double>{4, 8}));
  EXPECT_EQ(d.computed, 1);
}

TEST(TapeDeathTest, AVariableOfAnotherTapeIsRefused) {
  Parameter p = Trainable({2});
  Tape outer;
  const Variable x = Use(p);
  EXPECT_DEATH(
      {
        Tape inner;
        Square(x);
      },
      "another tape");
  EXPECT_DEATH(outer.Backward(Variable(Doubles({1})), Doubles({1})), "depends on nothing");
}

// The report on exhaustion names the ops that hold memory, also from within a rule.
TEST(TapeDeathTest, OutOfMemorySaysWhatEachOpSaved) {
  const auto exhaust = [] { Tensor::Empty({int64_t{1} << 55}, DType::kF32); };
  const auto record = [](Tape& tape) {
    return Silu(Square(tape.Leaf(Tensor::Full({1000}, 1, DType::kF32), [](Tensor) {})));
  };
  EXPECT_EXIT(
      {
        Tape tape;
        record(tape);
        exhaust();
      },
      testing::ExitedWithCode(3), "out of memory: .*Silu: 1 records, 4000 bytes saved");
  EXPECT_EXIT(
      {
        Tape tape;
        const Variable h = record(tape);
        const Variable y =
            Record("Last", {h}, h.value(), {}, [&](absl::Span<Tensor>, const Tensor&, GradSink&) { exhaust(); });
        tape.Backward(y, Tensor::Full({1000}, 1, DType::kF32));
      },
      testing::ExitedWithCode(3), "out of memory: .*Silu: 1 records, 4000 bytes saved");
}

}  // namespace
}  // namespace lorikeet
