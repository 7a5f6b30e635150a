load(":absl.bzl", "absl_repository")
load(":system_repository.bzl", "system_repository")

def system_repositories():
    absl_repository(name = "com_google_absl")
    system_repository(
        name = "com_google_googletest",
        apt = "libgtest-dev libgmock-dev",
        headers = ["gtest", "gmock"],
        libs = ["libgtest.a", "libgmock.a", "libgmock_main.a"],
        build_file = "//third_party/system:googletest.BUILD",
    )
    system_repository(
        name = "com_github_google_benchmark",
        apt = "libbenchmark-dev",
        headers = ["benchmark"],
        libs = ["libbenchmark_main.a"],
        build_file = "//third_party/system:benchmark.BUILD",
    )
    system_repository(
        name = "zstd",
        apt = "libzstd-dev",
        headers = ["zstd.h", "zstd_errors.h", "zdict.h"],
        libs = ["libzstd.a"],
        build_file = "//third_party/system:zstd.BUILD",
    )
    system_repository(
        name = "highway",
        apt = "libhwy-dev",
        headers = ["hwy"],
        build_file = "//third_party/system:highway.BUILD",
    )
    system_repository(
        name = "pcre2",
        apt = "libpcre2-dev",
        headers = ["pcre2.h"],
        libs = ["libpcre2-8.a"],
        build_file = "//third_party/system:pcre2.BUILD",
    )
    system_repository(
        name = "nlohmann_json",
        apt = "nlohmann-json3-dev",
        headers = ["nlohmann"],
        build_file = "//third_party/system:nlohmann_json.BUILD",
    )
    system_repository(
        name = "eigen",
        apt = "libeigen3-dev",
        headers = ["Eigen"],
        include_dirs = ["/usr/local/include/eigen3", "/usr/include/eigen3"],
        build_file = "//third_party/system:eigen.BUILD",
    )
    system_repository(
        name = "utf8proc",
        apt = "libutf8proc-dev",
        headers = ["utf8proc.h"],
        libs = ["libutf8proc.a"],
        build_file = "//third_party/system:utf8proc.BUILD",
    )
    system_repository(
        name = "mpi",
        apt = "libopenmpi-dev",
        headers = ["mpi.h", "mpi_portable_platform.h"],
        include_dirs = ["/usr/lib/%A/openmpi/include"],
        build_file = "//third_party/system:mpi.BUILD",
    )
    # Looked for only when //tests/benchmarks/peers:onednn_matmul is built, so no other build needs it.
    system_repository(
        name = "onednn",
        apt = "libdnnl-dev",
        headers = ["oneapi"],
        libs = ["libdnnl.so"],
        build_file = "//third_party/system:onednn.BUILD",
    )
