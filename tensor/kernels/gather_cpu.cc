#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr int64_t kChunkBytes = 1 << 16;
constexpr int64_t kBuckets = 16;

void CheckIds(const char* op, const View& ids, int64_t rows) {
  for (int64_t i = 0; i < ids.dims[0]; ++i) {
    const int32_t id = ids.ptr<int32_t>()[i];
    LORIKEET_CHECK(id >= 0 && id < rows) << op << ": ids[" << i << "] is " << id << ", the table has " << rows
                                         << " rows";
  }
}

// copy(row of the table, row of x, bytes) for every id.
template <typename F>
void EachRow(const char* op, const View& table, const View& ids, const View& x, F copy) {
  CheckIds(op, ids, table.dims[0]);
  const int64_t size = static_cast<int64_t>(SizeOf(table.dtype)), row_bytes = table.dims[1] * size;
  if (row_bytes == 0) return;
  ParallelFor(ids.dims[0], std::max<int64_t>(1, kChunkBytes / row_bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t id = ids.ptr<int32_t>()[i];
      copy(table.ptr<char>() + id * table.strides[0] * size, x.ptr<char>() + i * x.strides[0] * size,
           static_cast<size_t>(row_bytes));
    }
  });
}

void GatherRows(View table, View ids, View y, LaunchContext) {
  EachRow("GatherRows", table, ids, y, [](const char* row, char* to, size_t bytes) { std::memcpy(to, row, bytes); });
}

void ScatterRows(View x, View ids, View table, LaunchContext) {
  EachRow("ScatterRows", table, ids, x,
          [](char* row, const char* from, size_t bytes) { std::memcpy(row, from, bytes); });
}

template <typename T, typename C>
void AddRow(const T* x, C* y, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    if constexpr (std::is_same_v<T, double>) {
      y[j] += static_cast<C>(x[j]);
    } else {
      y[j] += static_cast<C>(static_cast<float>(x[j]));
    }
  }
}

// A row of the table belongs to one task, which meets its ids in order.
template <typename T, typename C>
void ScatterAdd(const View& dy, const View& ids, const View& dtable) {
  ParallelFor(kBuckets, 1, [&](int64_t bucket, int64_t) {
    for (int64_t i = 0; i < ids.dims[0]; ++i) {
      const int64_t id = ids.ptr<int32_t>()[i];
      if (id % kBuckets != bucket) continue;
      AddRow(dy.ptr<const T>() + i * dy.strides[0], dtable.ptr<C>() + id * dtable.strides[0], dy.dims[1]);
    }
  });
}

void ScatterAddRows(View dy, View ids, View dtable, LaunchContext) {
  CheckIds("ScatterAddRows", ids, dtable.dims[0]);
  DispatchFloat(dy.dtype, [&]<typename T>() {
    if (dtable.dtype == DType::kF64) {
      ScatterAdd<T, double>(dy, ids, dtable);
    } else {
      ScatterAdd<T, float>(dy, ids, dtable);
    }
  });
}

}  // namespace

const GatherKernels kCpuGather = {
    .gather_rows = GatherRows, .scatter_rows = ScatterRows, .scatter_add_rows = ScatterAddRows};

}  // namespace lorikeet
