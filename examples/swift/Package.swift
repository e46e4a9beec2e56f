// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "speak",
    dependencies: [.package(name: "lyra", path: "../..")],
    targets: [
        .executableTarget(name: "speak", dependencies: [.product(name: "Lyra", package: "lyra")], path: "Sources/speak")
    ],
    swiftLanguageModes: [.v6]
)
