// The three ladders; main.cc runs them.
#ifndef LORIKEET_TESTS_BENCHMARKS_LADDER_RUNGS_H_
#define LORIKEET_TESTS_BENCHMARKS_LADDER_RUNGS_H_

namespace lorikeet {

void MatMulLadder();     // y = x*W^T in bf16 with f32 sums
void Nf4Ladder();        // 4-bit weights to bf16
void AttentionLadder();  // causal attention, one head

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCHMARKS_LADDER_RUNGS_H_
