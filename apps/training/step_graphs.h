// StepGraphs: the passes of a training step as captured graphs, where shapes repeat; as they are, where not.
//
//   StepGraphs graphs(parameters, [&](const MicroBatch& b) { return ForwardAndBackward(b); });
//   graphs.BeginStep();                                   // gradients are zero
//   for (const MicroBatch& b : micro_batches) losses.push_back(graphs.Run(b));
//   ... the optimizer reads the gradients ...
//   graphs.EndStep();
//
// A small model's pass is a thousand kernels of some microseconds each: the host, which launches them one by one, is
// what it waits for. The second time that a shape (tokens, sequences, answers) comes up the pass is captured
// (tensor/cuda_graph.h); from then on it is one launch. Batches should be padded (model_batch.h, FindAnswers), so that
// shapes do repeat: to Tokens and Sequences, and their answers to a multiple of AnswerUnit. Batches of some 1000 tokens
// then have a few dozen shapes, however ragged; packed ones have one or two. What is run as it is: a shape's first
// time, a batch without an answer, everything while a parameter has no gradient. max_graphs are kept, those used last.
// A pass must be a function of the batch and of the parameters' values alone: a number that it has from the host would
// be that of the capture for ever, so a dropout key is read from the batch. Gradients live in the same memory from step
// to step: a pass adds to what is there. Where a value or a gradient lies elsewhere than it did, all is captured anew.
// Memory: the activations of the largest shape, which smaller ones share, for a shape with more tokens than any before
// ends all graphs. It is held between steps; passes that run as they are, and evaluation, have their own beside it.
// Ownership: parameters, and what the pass refers to, outlive the graphs. Threads: one.
#ifndef LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_
#define LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
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
  static constexpr size_t kMaxGraphs = 32;
  // `tokens` rounded up: to a multiple of 64, and of an eighth of the power of two below.
  static int64_t Tokens(int64_t tokens);
  // The power of two from `sequences` on, 16 at least.
  static int64_t Sequences(int64_t sequences);
  // A quarter of a batch of so many tokens, 64 at least.
  static int64_t AnswerUnit(int64_t tokens);

  using Pass = std::function<RowLosses(const MicroBatch&)>;
  StepGraphs(std::vector<Parameter*> parameters, Pass pass, size_t max_graphs = kMaxGraphs);

  void BeginStep();
  RowLosses Run(const MicroBatch& batch);
  void EndStep();

  int64_t launches() const { return launches_; }  // of graphs that stood for a pass
  size_t graphs() const { return shapes_.size(); }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t>;  // tokens, sequences, answers
  struct Shape {
    int64_t used = 0;  // the number of the last launch
    std::unique_ptr<CudaGraph> graph;
    MicroBatch batch;  // what it reads
    RowLosses losses;  // what it writes
  };
  bool Capturable(const MicroBatch& batch) const;
  std::vector<const void*> Addresses() const;
  Shape& ShapeFor(const Key& key);
  bool Capture(const MicroBatch& batch, Shape* shape);
  void DropGraphs();
  void ZeroGradients();

  std::vector<Parameter*> parameters_;
  Pass pass_;
  const size_t max_graphs_;
  std::set<Key> seen_;
  std::map<Key, Shape> shapes_;         // that were captured
  int64_t most_tokens_ = 0;             // of them
  std::vector<const void*> addresses_;  // that they hold
  std::vector<Tensor> gradients_;       // between steps
  std::unique_ptr<CudaGraph> zero_;
  int64_t launches_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_STEP_GRAPHS_H_
