// Three computations of this repository as ladders, from the plainest version to the one that ships.
//
//   bazel run -c opt //tests/benchmarks/ladder
//
// Columns: rate, times the rung before, times the first rung, and the reason. All rungs but the last of each ladder use
// one thread.
#include "tensor/kernels/parallel.h"
#include "tests/benchmarks/ladder/rungs.h"

int main() {
  lorikeet::SetNumThreads(1);
  lorikeet::MatMulLadder();
  lorikeet::Nf4Ladder();
  lorikeet::AttentionLadder();
}
