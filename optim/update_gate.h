// UpdateGate: lets updates through, scaled as clipping asks, until something is not finite; from then on none. The
// device decides, so a host that learns of a bad step only after it has launched further ones has done no harm.
//
//   UpdateGate gate(/*max_norm=*/1, Cuda(0));
//   const GradNorm norm(parameters, losses);             // optim/clip.h
//   gate.Look(norm);
//   optimizer.Step(rate, gate.scale());                  // nothing waited for
//   ...  double n = norm.Get();                          // later: not finite? Then neither this step nor any since
//   optimizer.UndoStepCount(steps_since);  gate.Open();  // has changed a parameter or a moment
//
// Ownership: it holds 16 bytes on the device; a step's scale is there until the next Look. Threads: one.
// Errors: none of its own. Source: found_inf of torch.amp.GradScaler, which fused optimizers read on the device.
#ifndef LORIKEET_OPTIM_UPDATE_GATE_H_
#define LORIKEET_OPTIM_UPDATE_GATE_H_

#include "optim/clip.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace lorikeet {

class UpdateGate {
 public:
  UpdateGate(double max_norm, Device device);  // open

  void Look(const GradNorm& norm);
  // f64 [2], whose first is what the gradients are to be multiplied with; NaN: no update.
  const Tensor& scale() const { return state_; }
  void Open();

 private:
  double max_norm_;
  Device device_;
  Tensor state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_UPDATE_GATE_H_
