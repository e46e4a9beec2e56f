// swift-tools-version: 6.2
import PackageDescription

// For modules that do not compute much themselves: optimizing them takes longer than it saves.
let unoptimized: [SwiftSetting] = [.unsafeFlags(["-Onone"], .when(configuration: .release))]

let package = Package(
    name: "lyra",
    products: [
        // For Swift programs: `import Lyra`.
        .library(name: "Lyra", targets: ["Lyra"]),
        // liblyra.so, the C ABI of include/lyra.h. bindings/c/build.sh makes the self-contained release build.
        .library(name: "lyra", type: .dynamic, targets: ["LyraC"]),
        .executable(name: "lyra-cli", targets: ["LyraCLI"]),
    ],
    traits: [
        .trait(name: "Nano", description: "Puts the model lyra:nano into the library and the command-line tool."),
        .default(enabledTraits: ["Nano"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
    ],
    targets: [
        .systemLibrary(name: "CLyra", path: "include"),
        .systemLibrary(name: "CEditline", pkgConfig: "libedit", providers: [.apt(["libedit-dev"])]),
        .systemLibrary(name: "CFiles"),
        // What a program may never need is loaded while it runs: these have the headers, and no library to link.
        .target(name: "CMemory"),
        .target(name: "CLoading", dependencies: ["CMemory"]),
        .target(name: "CSndfile", dependencies: ["CLoading"]),
        .target(name: "CFFmpeg", dependencies: ["CLoading"]),
        .target(name: "CMpg123", dependencies: ["CLoading"]),
        .target(name: "CTIFF", dependencies: ["CLoading"]),
        .target(name: "CMPI", dependencies: ["CLoading"]),
        .target(name: "CInterruption"),
        .target(name: "CKernels", dependencies: ["CInterruption", "CLoading", "CMemory"]),
        // The model lyra:nano. SwiftPM compiles this target without the trait, too; it is empty then.
        .target(
            name: "CNano", exclude: ["weights"], cSettings: [.define("LYRA_NANO", .when(traits: ["Nano"]))]),
        .target(name: "LyraBase", dependencies: ["CInterruption", "CMemory"]),
        .target(name: "LyraTensor", dependencies: ["LyraBase", "CKernels", "CMemory"]),
        .target(name: "LyraFormats", dependencies: ["LyraTensor", "CFiles"], exclude: ["README.md"]),
        .target(name: "LyraText", dependencies: ["LyraBase"]),
        .target(
            name: "LyraMedia",
            dependencies: ["LyraTensor", "CLoading", "CSndfile", "CMpg123", "CFFmpeg", "CTIFF"],
            exclude: ["README.md"]),
        .target(
            name: "LyraModel",
            dependencies: [
                "LyraFormats", "LyraText", "LyraMedia", .target(name: "CNano", condition: .when(traits: ["Nano"])),
            ],
            swiftSettings: [.strictMemorySafety(), .treatWarning("StrictMemorySafety", as: .error)]),
        // Presets, random weights and conversion: for the command line and tests, not for the library.
        .target(name: "LyraTools", dependencies: ["LyraModel"]),
        .target(name: "Lyra", dependencies: ["LyraModel"]),
        // The reader of conversations with media: for training and evaluation, not for the library.
        .target(name: "LyraDatasets", dependencies: ["LyraBase", "LyraFormats"]),
        // Scores, normalizers, manifests and haystacks, for the command line.
        .target(
            name: "LyraEvaluation",
            dependencies: ["Lyra", "LyraDatasets", "LyraFormats", "LyraMedia", "LyraText"]),
        // Losses, gradients and the optimizer: for the command line and tests, not for the library.
        .target(
            name: "LyraTraining",
            dependencies: [
                "LyraBase", "LyraTensor", "LyraFormats", "LyraText", "LyraMedia", "LyraModel", "LyraTools",
                "LyraDatasets", "CKernels", "CMPI",
            ]),
        // Makes training data of corpora, transcripts and recordings: for the command line and tests.
        .target(
            name: "LyraData",
            dependencies: ["LyraBase", "LyraTensor", "LyraFormats", "LyraMedia", "LyraModel", "CFiles"]),
        .target(name: "CCallers"),
        .target(name: "LyraC", dependencies: ["Lyra", "CLyra", "CCallers"]),
        .executableTarget(
            name: "LyraCLI",
            dependencies: [
                "Lyra", "LyraTools", "LyraEvaluation", "LyraDatasets", "LyraData", "LyraTraining", "LyraModel",
                "LyraFormats", "LyraTensor", "LyraMedia", "CKernels", "CEditline",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            // Other modules compute for it.
            swiftSettings: unoptimized),
        .target(name: "CSoundWriter", path: "Tests/CSoundWriter", linkerSettings: [.linkedLibrary("sndfile")]),
        .target(name: "TestSupport", dependencies: ["LyraFormats", "LyraMedia"], path: "Tests/TestSupport"),
        .testTarget(name: "LyraTensorTests", dependencies: ["LyraTensor", "TestSupport"]),
        .testTarget(name: "LyraFormatsTests", dependencies: ["LyraFormats"], swiftSettings: unoptimized),
        .testTarget(name: "LyraTextTests", dependencies: ["LyraText"], swiftSettings: unoptimized),
        .testTarget(name: "LyraMediaTests", dependencies: ["LyraMedia", "CSoundWriter"], swiftSettings: unoptimized),
        .testTarget(
            name: "LyraModelTests", dependencies: ["LyraModel", "LyraTools", "TestSupport"],
            swiftSettings: unoptimized),
        .testTarget(name: "LyraDatasetsTests", dependencies: ["LyraDatasets"], swiftSettings: unoptimized),
        .testTarget(
            name: "LyraEvaluationTests", dependencies: ["LyraEvaluation", "LyraDatasets"], swiftSettings: unoptimized),
        .testTarget(
            name: "LyraTrainingTests",
            dependencies: ["LyraTraining", "LyraTools", "LyraFormats", "LyraDatasets", "Lyra", "TestSupport"],
            swiftSettings: unoptimized),
        .testTarget(
            name: "LyraDataTests", dependencies: ["LyraData", "TestSupport"], swiftSettings: unoptimized),
        .testTarget(
            name: "LyraTests", dependencies: ["Lyra", "LyraTools", "TestSupport", "CSoundWriter"],
            swiftSettings: unoptimized),
    ],
    swiftLanguageModes: [.v6]
)

// Tests/run.sh sets this for the tests in Swift: only what computes much is optimized. The release build, whose tests
// are in C and Python, optimizes all modules but the tool's own.
if Context.environment["LYRA_TESTS"] != nil {
    let computing = ["LyraBase", "LyraTensor", "LyraText", "LyraMedia", "LyraTensorTests"]
    for target in package.targets where target.type != .system && !computing.contains(target.name) {
        target.swiftSettings = (target.swiftSettings ?? []) + unoptimized
    }
}

// Tests/fuzz/run.sh sets this: libFuzzer's programs in place of what is built otherwise.
if Context.environment["LYRA_FUZZ"] != nil {
    let fuzzed: [Target.Dependency] = ["LyraTensor", "LyraFormats", "LyraText", "LyraMedia", "LyraModel", "Lyra"]
    let reached: [String: [Target.Dependency]] = [
        "options": ["LyraC", "CLyra"], "dataset": ["LyraDatasets", "LyraData"],
    ]
    package.products = []
    let unreached = ["CSoundWriter", "TestSupport", "LyraTools", "LyraTraining", "LyraEvaluation"]
    package.targets.removeAll { [.executable, .test].contains($0.type) || unreached.contains($0.name) }
    // Two targets of twelve reach these modules: optimizing them would take a third of the build. Before fuzzing for
    // seconds, optimizing any module takes longer than it saves.
    let isShort = Context.environment["LYRA_FUZZ"] == "short"
    for target in package.targets where isShort || ["LyraModel", "Lyra", "LyraC"].contains(target.name) {
        if target.type != .system { target.swiftSettings = (target.swiftSettings ?? []) + unoptimized }
    }
    package.targets.append(
        .target(name: "FuzzSupport", dependencies: ["LyraText", "Lyra"], path: "Tests/fuzz/Sources/Support"))
    for name in [
        "safetensors", "gguf", "torch", "json", "tokenizer", "text", "audio", "image", "video", "state", "options",
        "dataset",
    ] {
        package.targets.append(
            .executableTarget(
                name: "fuzz-\(name)",
                dependencies: fuzzed + ["FuzzSupport"] + (reached[name] ?? []),
                path: "Tests/fuzz/Sources/\(name)"))
    }
}
