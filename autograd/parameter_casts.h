// ParameterCasts: the values of many small parameters in the dtype that passes compute in, made at once.
//
//   const ParameterCasts casts(parameters, DType::kBF16);      // a launch for a hundred of them
//   ... Use(p, DType::kBF16), p.As(DType::kBF16) ...            // take what is there, wherever and however often
//
// Adapters have hundreds of f32 factors that each pass takes in bf16: cast one by one where they are used, each is a
// launch that takes longer than its work. The bits are those of Tensor::Cast. Passed over, and cast where they are used
// if at all, are parameters of kMaxElements or more (a launch of their own costs nothing there), those of that dtype
// already, and those that another ParameterCasts holds.
// While this lives the values do not change and the parameters do not move. In captured work (tensor/cuda_graph.h) it
// is made anew with every launch, like everything that it is followed by. Ownership: the parameters outlive it, and
// hold the casts. Threads: not while another uses the parameters.
#ifndef LORIKEET_AUTOGRAD_PARAMETER_CASTS_H_
#define LORIKEET_AUTOGRAD_PARAMETER_CASTS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "tensor/dtype.h"

namespace lorikeet {

class ParameterCasts {
 public:
  static constexpr int64_t kMaxElements = int64_t{1} << 20;

  ParameterCasts(absl::Span<Parameter* const> parameters, DType dtype);
  ~ParameterCasts();
  ParameterCasts(const ParameterCasts&) = delete;
  ParameterCasts& operator=(const ParameterCasts&) = delete;

 private:
  std::vector<Parameter*> parameters_;  // that it has cast
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_PARAMETER_CASTS_H_
