#include "tensor/kernels/cublas_lt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "tensor/cuda_stream.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/shared_library.h"

namespace lorikeet::internal {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA recommends for Hopper
constexpr size_t kMostPlans = 4096;

// The functions that are used, and a handle; no handle if there is no library, or none for this device.
struct Library {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  cublasLtHandle_t handle = nullptr;
};

void* OpenLibrary() {
  for (const char* name :
       {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", "/usr/local/cuda/lib64/libcublasLt.so"}) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

Library Load() {
  Library l{};
  void* so = OpenLibrary();
  const bool found = so != nullptr && FindSymbol(so, "cublasLtCreate", &l.create) &&
                     FindSymbol(so, "cublasLtMatmul", &l.matmul) &&
                     FindSymbol(so, "cublasLtMatmulAlgoGetHeuristic", &l.heuristic) &&
                     FindSymbol(so, "cublasLtMatmulDescCreate", &l.desc_create) &&
                     FindSymbol(so, "cublasLtMatmulDescDestroy", &l.desc_destroy) &&
                     FindSymbol(so, "cublasLtMatmulDescSetAttribute", &l.desc_set) &&
                     FindSymbol(so, "cublasLtMatrixLayoutCreate", &l.layout_create) &&
                     FindSymbol(so, "cublasLtMatrixLayoutDestroy", &l.layout_destroy) &&
                     FindSymbol(so, "cublasLtMatmulPreferenceCreate", &l.preference_create) &&
                     FindSymbol(so, "cublasLtMatmulPreferenceDestroy", &l.preference_destroy) &&
                     FindSymbol(so, "cublasLtMatmulPreferenceSetAttribute", &l.preference_set);
  if (!found || l.create(&l.handle) != CUBLAS_STATUS_SUCCESS) l.handle = nullptr;
  return l;
}

const Library& Lt() {
  static const Library library = Load();
  return library;
}

cudaDataType TypeOf(DType t) { return t == DType::kBF16 ? CUDA_R_16BF : t == DType::kF16 ? CUDA_R_16F : CUDA_R_32F; }

// Largest power of two, 256 at most, that divides an address: algorithms ask for it.
uint32_t Alignment(const void* p) {
  uint32_t bytes = 256;
  while (reinterpret_cast<uintptr_t>(p) % bytes != 0) bytes /= 2;
  return bytes;
}

// A call described to the library, and the algorithm that it recommends.
class Plan {
 public:
  explicit Plan(const LibraryCall& c) { possible_ = Describe(c) && Choose(c); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    for (cublasLtMatrixLayout_t layout : {a_, b_, d_}) {
      if (layout != nullptr) Lt().layout_destroy(layout);
    }
    if (desc_ != nullptr) Lt().desc_destroy(desc_);
  }

  bool Run(const LibraryCall& c, LaunchContext context) const {
    if (!possible_) return false;
    void* stream = context.stream != nullptr ? context.stream : ComputeStream().handle();
    void* workspace = CudaScratch(kCudaScratchMatMulLibrary, kWorkspaceBytes);
    return Lt().matmul(Lt().handle, desc_, &c.alpha, c.a, a_, c.b, b_, &c.beta, c.d, d_, c.d, d_, &algorithm_,
                       workspace, kWorkspaceBytes, static_cast<cudaStream_t>(stream)) == CUBLAS_STATUS_SUCCESS;
  }

 private:
  static bool Matrix(cublasLtMatrixLayout_t* layout, DType dtype, int64_t rows, int64_t columns, int64_t ld) {
    return Lt().layout_create(layout, TypeOf(dtype), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld) ==
           CUBLAS_STATUS_SUCCESS;
  }

  template <typename T>
  bool Set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return Lt().desc_set(desc_, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
  }

  bool Describe(const LibraryCall& c) {
    const cublasOperation_t op_a = c.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = c.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    return Lt().desc_create(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           Set(CUBLASLT_MATMUL_DESC_TRANSA, op_a) && Set(CUBLASLT_MATMUL_DESC_TRANSB, op_b) &&
           Matrix(&a_, c.dtype, c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, c.lda) &&
           Matrix(&b_, c.dtype, c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, c.ldb) &&
           Matrix(&d_, c.d_dtype, c.m, c.n, c.ldd);
  }

  bool Choose(const LibraryCall& c) {
    cublasLtMatmulPreference_t preference = nullptr;
    if (Lt().preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return false;
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return Lt().preference_set(preference, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
    };
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const bool found =
        set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes) &&
        set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)) &&
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, Alignment(c.a)) &&
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, Alignment(c.b)) &&
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, Alignment(c.d)) &&
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, Alignment(c.d)) &&
        Lt().heuristic(Lt().handle, desc_, a_, b_, d_, d_, preference, 1, &result, &count) == CUBLAS_STATUS_SUCCESS &&
        count == 1 && result.state == CUBLAS_STATUS_SUCCESS;
    Lt().preference_destroy(preference);
    algorithm_ = result.algo;
    return found;
  }

  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  bool possible_ = false;
};

using Key = std::array<int64_t, 13>;

Key KeyOf(const LibraryCall& c) {
  return {static_cast<int64_t>(c.dtype),
          static_cast<int64_t>(c.d_dtype),
          c.transpose_a,
          c.transpose_b,
          c.m,
          c.n,
          c.k,
          c.lda,
          c.ldb,
          c.ldd,
          Alignment(c.a),
          Alignment(c.b),
          Alignment(c.d)};
}

}  // namespace

bool HasCublasLt() { return Lt().handle != nullptr; }

bool CublasLtMultiply(const LibraryCall& call, LaunchContext context) {
  if (!HasCublasLt()) return false;
  static auto* const plans = new std::map<Key, std::unique_ptr<Plan>>;  // outlives the static library
  if (plans->size() >= kMostPlans) plans->clear();
  std::unique_ptr<Plan>& plan = (*plans)[KeyOf(call)];
  if (plan == nullptr) plan = std::make_unique<Plan>(call);
  return plan->Run(call, context);
}

}  // namespace lorikeet::internal
