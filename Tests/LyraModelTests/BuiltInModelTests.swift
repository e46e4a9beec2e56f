import Foundation
import LyraBase
import LyraFormats
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// Names of built-in models. `LyraTests/NanoTests.swift` has the answers of lyra:nano.
@Suite struct BuiltInModelTests {
    private func refusal(_ name: String) -> LyraError? {
        #expect(throws: LyraError.self) { _ = try Checkpoint.open(name) }
    }

    @Test(arguments: ["lyra:", "lyra:nan", "lyra:nano/", "lyra:NANO", "lyra:nano\u{301}", "lyra:model.gguf"])
    func anotherNameIsRefusedWithTheNamesThatThereAre(_ name: String) {
        let error = refusal(name)
        #expect(error?.code == .argument)
        for part in [shown(name), BuiltInModel.names.first ?? "none in this build", "./"] {
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
    }

    @Test func aLongNameIsShortened() {
        #expect((refusal("lyra:" + String(repeating: "a", count: 100_000))?.message.utf8.count ?? 0) < 600)
    }

    @Test func aDirectoryOfTheNameHasAPath() throws {
        let scratch = try TemporaryDirectory()
        let path = scratch.path + "/" + BuiltInModel.nano
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: Golden.path("a") + "/lyra")
        #expect(try Checkpoint.open(path).adapters == ["long_speech", "speech"])
    }

    /// No directory is near a model inside the program, not the current one either.
    @Test func towersAreSearchedOnlyWhereTheCallerSays() throws {
        let extra = Golden.path("a") + "/model_zoo"
        let finder = try TowerFinder(checkpoint: nil, extra: extra)
        #expect(finder.candidates("audio/whisper-tiny").allSatisfy { $0.hasPrefix(extra + "/") })
        #expect(try finder.directory("audio/whisper-tiny") == extra + "/audio/whisper-tiny")
        #expect(try finder.vocoder(nil) {}?.hasPrefix(extra + "/audio/vocoder/g_") == true)
        let none = try TowerFinder(checkpoint: nil, extra: nil)
        #expect(none.candidates("Sources").isEmpty)
        #expect(try none.vocoder(nil) {} == nil)
    }

    #if Nano
        @Test func theBytesAreTheFileAlignedForVectors() throws {
            let model = try BuiltInModel.file(BuiltInModel.nano), file = try MappedFile(path: nanoFile)
            #expect(Int(bitPattern: model.bytes.baseAddress) % 64 == 0)
            #expect(model.bytes.elementsEqual(file.bytes))
            model.dropResidentPages()
            model.dropResidentPages(of: model.bytes)
            #expect(model.bytes.elementsEqual(file.bytes))
        }

        @Test func opensLikeTheFileAndNamesItselfAsTheSource() throws {
            let model = try Checkpoint.open(BuiltInModel.nano), file = try Checkpoint.open(nanoFile)
            #expect(model.fingerprint == file.fingerprint && model.adapters == file.adapters)
            #expect(model.inventory.map(\.name) == file.inventory.map(\.name))
            #expect(model.inventory.allSatisfy { $0.source == BuiltInModel.nano })
        }

        @Test func isConvertedLikeTheFile() throws {
            let (model, file) = (try OneFile(BuiltInModel.nano, .bf16), try OneFile(nanoFile, .bf16))
            let (a, b) = (try GGUFFile(path: model.path), try GGUFFile(path: file.path))
            #expect(a.names == b.names && a.keys == b.keys)
            for name in a.names {
                #expect(try #require(a.tensor(name)).bytes.elementsEqual(#require(b.tensor(name)).bytes))
            }
            #expect(try model.open().fingerprint == file.open().fingerprint)
        }

        @Test func itsSpeechTowerIsThere() throws {
            #expect(try LonePart.speechEncoder(BuiltInModel.nano, check: {}).encoder.configuration.layers > 0)
        }

        @Test func isNotRewritten() {
            let error = #expect(throws: LyraError.self) { _ = try ModelWriter(BuiltInModel.nano) }
            #expect(error?.code == .unsupported && error?.message.hasPrefix(BuiltInModel.nano + ": ") == true)
        }

        private var nanoFile: String { Golden.path("../../Sources/CNano/weights/nano.gguf") }
    #else
        @Test func aBuildWithoutNanoSaysHowToGetIt() {
            let error = refusal(BuiltInModel.nano)
            #expect(error?.code == .missing && error?.message.hasPrefix("lyra:nano: ") == true)
            for way in ["package trait Nano", "'swift build'", "'bindings/c/build.sh'"] {
                #expect(error?.message.contains(way) == true)
            }
        }
    #endif
}
