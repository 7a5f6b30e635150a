#include "tests/benchmarks/peers/onednn_product.h"

#include <omp.h>

#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "tensor/dtype.h"

namespace lorikeet {
namespace {

using dnnl::memory;
using Arguments = std::unordered_map<int, memory>;

constexpr memory::format_tag kRows = memory::format_tag::ab, kColumns = memory::format_tag::ba;

memory::data_type TypeOf(const Tensor& t) {
  return t.dtype() == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// oneDNN 3 dropped the descriptor between a primitive and its implementation.
dnnl::matmul::primitive_desc Describe(const dnnl::engine& engine, const memory::desc& a, const memory::desc& b,
                                      const memory::desc& y, const dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(engine, a, b, y, attr, /*allow_empty=*/true);
#else
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, y), attr, engine, /*allow_empty=*/true);
#endif
}

}  // namespace

struct OneDnnProduct::State {
  // A factor as oneDNN sees it: dims of op(x), and how x lies in memory.
  struct Factor {
    memory::dims dims;
    memory::format_tag stored;
    memory data;
    bool frozen;
  };

  Factor MakeFactor(const Tensor& t, int64_t rows, int64_t columns, bool transposed, bool frozen) const {
    const memory::format_tag tag = transposed ? kColumns : kRows;
    return {{rows, columns}, tag, memory({{rows, columns}, TypeOf(t), tag}, engine, t.view().data), frozen};
  }

  // The same memory seen as the transpose.
  Factor Transposed(const Factor& f) const {
    const memory::format_tag tag = f.stored == kRows ? kColumns : kRows;
    const memory::dims dims = {f.dims[1], f.dims[0]};
    return {dims, tag, memory({dims, Type(f.data), tag}, engine, f.data.get_data_handle()), f.frozen};
  }

  static memory::data_type Type(const memory& m) {
#if DNNL_VERSION_MAJOR >= 3
    return m.get_desc().get_data_type();
#else
    return m.get_desc().data_type();
#endif
  }

  // The memory that the primitive reads: the factor's own, or a copy in the layout that it asked for.
  memory Prepare(const Factor& f, const memory::desc& wanted) {
    if (wanted == f.data.get_desc()) return f.data;
    memory copy(wanted, engine);
    dnnl::reorder reorder(f.data, copy);
    Arguments arguments = {{DNNL_ARG_FROM, f.data}, {DNNL_ARG_TO, copy}};
    if (f.frozen) {
      reorder.execute(stream, arguments);
      stream.wait();
    } else {
      reorders.emplace_back(std::move(reorder), std::move(arguments));
    }
    return copy;
  }

  bool Choose(bool transpose, bool any_first, bool any_second) {
    omp_set_num_threads(threads);  // kernels divide their work when they are made
    reorders.clear();
    arguments.clear();
    primitive.reset();
    const Factor first = transpose ? Transposed(b) : a, second = transpose ? Transposed(a) : b;
    const Factor result = transpose ? Transposed(y) : y;
    const auto desc = [](const Factor& f, bool any) {
      return any ? memory::desc(f.dims, Type(f.data), memory::format_tag::any) : f.data.get_desc();
    };
    dnnl::primitive_attr attr;
    if (beta != 0) {
      dnnl::post_ops sum;
      sum.append_sum(beta);
      attr.set_post_ops(sum);
    }
    try {
      const dnnl::matmul::primitive_desc pd =
          Describe(engine, desc(first, any_first), desc(second, any_second), result.data.get_desc(), attr);
      if (!pd || std::string(pd.impl_info_str()).rfind("ref", 0) == 0) return false;
      const bool first_moves = pd.src_desc() != first.data.get_desc();
      const bool second_moves = pd.weights_desc() != second.data.get_desc();
      if (first_moves != any_first || second_moves != any_second) return false;  // another variant is the same
      arguments = {{DNNL_ARG_SRC, Prepare(first, pd.src_desc())},
                   {DNNL_ARG_WEIGHTS, Prepare(second, pd.weights_desc())},
                   {DNNL_ARG_DST, result.data}};
      primitive.emplace(pd);
    } catch (const dnnl::error&) {
      return false;
    }
    const bool a_moves = transpose ? any_second : any_first, b_moves = transpose ? any_first : any_second;
    layout = a_moves && b_moves ? "packed a b" : a_moves ? "packed a" : b_moves ? "packed b" : "rows";
    if (transpose) layout += ", y^T";
    return true;
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  Factor a, b, y;
  float beta = 0;
  int threads = 1;
  std::vector<std::pair<dnnl::reorder, Arguments>> reorders;
  std::optional<dnnl::matmul> primitive;
  Arguments arguments;
  std::string layout;
};

OneDnnProduct::OneDnnProduct(const Product& p, const Tensor& a, const Tensor& b, const Tensor& y, int threads)
    : state_(std::make_unique<State>()) {
  state_->a = state_->MakeFactor(a, p.m, p.k, p.ta, false);
  state_->b = state_->MakeFactor(b, p.k, p.n, p.tb, p.frozen);
  state_->y = state_->MakeFactor(y, p.m, p.n, false, false);
  state_->beta = p.beta;
  state_->threads = threads;
}

OneDnnProduct::~OneDnnProduct() = default;

bool OneDnnProduct::Choose(int variant) {
  return state_->Choose((variant & 4) != 0, (variant & 1) != 0, (variant & 2) != 0);
}

void OneDnnProduct::Run() {
  for (auto& [reorder, arguments] : state_->reorders) reorder.execute(state_->stream, arguments);
  state_->primitive->execute(state_->stream, state_->arguments);
  state_->stream.wait();
}

std::string OneDnnProduct::layout() const { return state_->layout; }

void ReleaseOneDnnThreads() { omp_pause_resource_all(omp_pause_soft); }

std::string OneDnnVersion() {
  const dnnl_version_t* v = dnnl::version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace lorikeet
