#include "quant/nf4_map.h"

#include <string>
#include <utility>

#include "quant/bnb_checkpoint.h"
#include "quant/nf4_decode.h"
#include "quant/nf4_matmul.h"
#include "tensor/check.h"
#include "tensor/kernels/dispatch.h"

namespace lorikeet {

Nf4Map::Nf4Map(Nf4Tensor w) : w_(std::move(w)) {
  LORIKEET_CHECK_EQ(w_.shape.rank(), 2) << "Nf4Map: weight of shape " << w_.shape;
}

void Nf4Map::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const { MatMulNf4Into(y, x, w_, true, e); }

void Nf4Map::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const { MatMulNf4Into(dx, dy, w_, false, e); }

Tensor Nf4Map::Rows(const Tensor& ids, DType dtype) const {
  const int64_t n = ids.size(), in = in_features();
  const Tensor flat = ids.Contiguous();
  const int32_t* id = flat.data<int32_t>().data();
  Tensor out = Tensor::Empty({n, in}, dtype);
  const Nf4View w = w_.view();
  DispatchFloat(dtype, [&]<typename T>() {
    T* to = out.data<T>().data();
    for (int64_t i = 0; i < n; ++i) {
      LORIKEET_CHECK(id[i] >= 0 && id[i] < out_features()) << "Nf4Map: row " << id[i] << " of " << out_features();
      Nf4Decode(w, id[i] * in, (id[i] + 1) * in, to + i * in);
    }
  });
  return out;
}

void Nf4Map::Visit(Visitor& v) {
  for (auto& [name, tensor] : Nf4ToCheckpoint("weight", w_)) v.Buffer(name, tensor, name == "weight" ? w_.size() : 0);
}

}  // namespace lorikeet
