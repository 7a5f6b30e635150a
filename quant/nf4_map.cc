#include "quant/nf4_map.h"

#include <string>
#include <utility>

#include "quant/bnb_checkpoint.h"
#include "quant/nf4_matmul.h"
#include "tensor/check.h"

namespace lorikeet {

Nf4Map::Nf4Map(Nf4Tensor w) : w_(std::move(w)) {
  LORIKEET_CHECK_EQ(w_.shape.rank(), 2) << "Nf4Map: weight of shape " << w_.shape;
}

void Nf4Map::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const { MatMulNf4Into(y, x, w_, true, e); }

void Nf4Map::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const { MatMulNf4Into(dx, dy, w_, false, e); }

Tensor Nf4Map::Rows(const Tensor& ids, DType dtype) const { return GatherRows(w_, ids, dtype); }

void Nf4Map::Visit(Visitor& v) {
  for (auto& [name, tensor] : Nf4ToCheckpoint("weight", w_)) v.Buffer(name, tensor, name == "weight" ? w_.size() : 0);
}

}  // namespace lorikeet
