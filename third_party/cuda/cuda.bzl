"""cuda_library: a cc_library whose .cu files are compiled as the CUDA backend says.

  cuda_library(
      name = "cuda",
      srcs = ["norm_cuda.cu", "softmax_cuda.cu", "no_cuda.cc"],
      hdrs = ["norm.h", "softmax.h"],
  )

With --//third_party/cuda:backend=nvcc, nvcc compiles the .cu files and cudart is linked statically; with sim, the host's
compiler takes them as plain C++, on the simulator in //third_party/cusim; with none they are left out, and LORIKEET_CUDA is not defined. Other
files in srcs and hdrs are as of a cc_library. A .cu file sees the headers of deps; keep Abseil out of them (it triples
the compile time).
"""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load("@local_config_cuda//:defs.bzl", "NVCC")
load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

_GENCODE = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=sm_90",
    "-gencode=arch=compute_90,code=compute_90",  # PTX, for newer devices
]

def _nvcc_objects_impl(ctx):
    cc = find_cpp_toolchain(ctx)
    deps = cc_common.merge_cc_infos(cc_infos = [d[CcInfo] for d in ctx.attr.deps]).compilation_context
    objects = []
    for src in ctx.files.srcs:
        obj = ctx.actions.declare_file("_objs/%s/%s.pic.o" % (ctx.label.name, src.basename))
        args = ctx.actions.args()
        args.add_all(["-x", "cu", "-c", src, "-o", obj, "-std=c++20", "-ccbin", cc.compiler_executable])
        # Device code for three targets makes a program of 115 MB; compressed it is a tenth of that.
        args.add_all(["-G", "-g"] if ctx.var["COMPILATION_MODE"] == "dbg" else ["-O3", "-DNDEBUG", "--compress-mode=size"])
        args.add_all(ctx.attr.gencode or _GENCODE)
        args.add_all(["--expt-relaxed-constexpr", "--extended-lambda", "-Werror=all-warnings", "-Xcompiler=-fPIC,-Wall"])
        args.add_all([".", ctx.bin_dir.path], format_each = "-I%s")
        args.add_all(deps.quote_includes, format_each = "-I%s")
        args.add_all(deps.includes, format_each = "-I%s")
        args.add_all(deps.system_includes, format_each = "-isystem=%s")
        args.add_all(deps.defines, format_each = "-D%s")
        args.add_all(ctx.attr.copts)
        ctx.actions.run(
            executable = NVCC,
            arguments = [args],
            inputs = depset([src] + ctx.files.hdrs, transitive = [deps.headers, cc.all_files]),
            outputs = [obj],
            env = {"PATH": "/usr/bin:/bin"},
            mnemonic = "NvccCompile",
            progress_message = "Compiling %s with nvcc" % src.short_path,
        )
        objects.append(obj)
    return [DefaultInfo(files = depset(objects))]

_nvcc_objects = rule(
    implementation = _nvcc_objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"]),
        "hdrs": attr.label_list(allow_files = True),
        "deps": attr.label_list(providers = [CcInfo]),
        "copts": attr.string_list(),
        "gencode": attr.string_list(),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    fragments = ["cpp"],
)

def _cu_as_cc_impl(ctx):
    outs = []
    for src in ctx.files.srcs:
        out = ctx.actions.declare_file("_sim/%s/%s.cc" % (ctx.label.name, src.basename))
        ctx.actions.symlink(output = out, target_file = src)
        outs.append(out)
    return [DefaultInfo(files = depset(outs))]

_cu_as_cc = rule(
    implementation = _cu_as_cc_impl,
    attrs = {"srcs": attr.label_list(allow_files = [".cu"])},
)

def cuda_library(
        name,
        srcs,
        hdrs = [],
        deps = [],
        nvcc_copts = [],
        gencode = [],
        testonly = None,
        copts = [],
        **kwargs):
    """A cc_library with .cu files.

    Args:
      name: the cc_library's name.
      srcs: .cu files, and .cc and .h files as of a cc_library.
      hdrs: as of a cc_library.
      deps: as of a cc_library; //third_party/cuda:runtime is added.
      nvcc_copts: further options for nvcc, such as -fmad=false.
      gencode: -gencode options in place of the default ones, for instructions of one architecture.
      testonly: as of a cc_library.
      copts: as of a cc_library.
      **kwargs: further attributes of the cc_library (visibility, ...).
    """
    cu = [s for s in srcs if s.endswith(".cu")]
    other = [s for s in srcs if not s.endswith(".cu")]
    deps = deps + ["//third_party/cuda:runtime"]
    _nvcc_objects(
        name = name + "_nvcc",
        srcs = cu,
        hdrs = hdrs + [s for s in other if s.endswith(".h")],
        copts = nvcc_copts,
        gencode = gencode,
        deps = deps,
        tags = ["manual"],
        testonly = testonly,
    )
    _cu_as_cc(name = name + "_sim", srcs = cu, tags = ["manual"], testonly = testonly)
    cc_library(
        name = name,
        srcs = other + select({
            "//third_party/cuda:is_nvcc": [":" + name + "_nvcc"],
            "//third_party/cuda:is_sim": [":" + name + "_sim"],
            "//conditions:default": [],
        }),
        hdrs = hdrs,
        copts = copts + ["-Wno-unknown-pragmas"],  # the host's compiler has no #pragma unroll
        deps = deps,
        testonly = testonly,
        **kwargs
    )

def cuda_test(name, srcs, deps, data = [], size = "small", timeout = None, target_compatible_with = None):
    """A cc_test whose cases are also part of //tests/gpu:gpu_tests, the one program that is carried to a GPU host.

    Args:
      name: the cc_test's name; NAME_cases is the library with the cases.
      srcs: .cc files; names of test suites are unique among all cuda_tests.
      deps: as of a cc_test, without gtest_main.
      data: as of a cc_test.
      size: as of a cc_test.
      timeout: as of a cc_test.
      target_compatible_with: as of a cc_test.
    """
    cc_library(
        name = name + "_cases",
        testonly = True,
        srcs = srcs,
        data = data,
        visibility = ["//tests/gpu:__pkg__"],
        deps = deps + ["@com_google_googletest//:gtest"],
        alwayslink = True,
        target_compatible_with = target_compatible_with,
    )
    cc_test(
        name = name,
        size = size,
        timeout = timeout,
        target_compatible_with = target_compatible_with,
        deps = [
            ":" + name + "_cases",
            "@com_google_googletest//:gtest_main",
        ],
    )
