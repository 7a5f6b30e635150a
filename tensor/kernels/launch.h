// LaunchContext: what a kernel needs beside its views. On the CPU nothing (the thread pool is parallel.h's); on CUDA
// the stream to run on, ComputeStream() (tensor/cuda_stream.h) if it is null. Compiles under nvcc without Abseil.
#ifndef LORIKEET_TENSOR_KERNELS_LAUNCH_H_
#define LORIKEET_TENSOR_KERNELS_LAUNCH_H_

namespace lorikeet {

struct LaunchContext {
  void* stream = nullptr;  // a cudaStream_t, CudaStream::handle()
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_LAUNCH_H_
