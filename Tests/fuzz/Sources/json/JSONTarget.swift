import FuzzSupport
import Glibc
import LyraBase

@testable import LyraFormats
@testable import LyraMedia
@testable import LyraModel

/// Reads the input as each of the JSON files of a checkpoint.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = FuzzInput(start, count)
    input.withFile { path in
        decode(LyraConfiguration.self, path) { try $0.validate(path) }
        decode(WhisperConfiguration.self, path) { try $0.validate(path) }
        decode(GenerationDefaults.self, path) { try $0.validate(path) }
        decode(AdapterConfiguration.self, path) {
            try $0.validate(path)
            use($0.scale)
        }
        decode(VisionConfiguration.self, path) {
            try $0.validate(path)
            use($0.mergedWidth)
        }
        decode(ImageConfiguration.self, path) {
            try $0.validate(path)
            use(ImagePreparation($0).limited(toPixels: 1).configuration.maxPixels)
        }
        decode(VocoderConfiguration.self, path) { try $0.validate(source: path) }
        try? use(MelConfiguration(NamedBytes(name: path, bytes: Array(input.bytes))).frameCount)
        try? checkKeys(path)
        try? use(ShardedSafetensors(directory: modelDirectory).names)
    }
    return 0
}

/// Checks the keys by the rules of every kind of configuration.
private func checkKeys(_ path: String) throws {
    let bytes = try MappedFile.contents(path: path, limit: JSONFile.configurationLimit)
    let value = try bytes.withUnsafeBytes { try JSONValue($0, source: path) }
    for check in [ConfigurationChecks.main, ConfigurationChecks.vision] {
        try? check(value, path) { use($0.utf8.count) }
    }
    for table in [KnownKeys.generation, KnownKeys.adapter, KnownKeys.whisper, KnownKeys.features, KnownKeys.vocoder] {
        try? table.check(value, path) { use($0.utf8.count) }
    }
}

private func decode<T: Decodable>(_ type: T.Type, _ path: String, validate: (T) throws -> Void) {
    try? validate(JSONFile.decode(type, path: path))
}

/// A directory with the input as the index of a model.
private let modelDirectory: String = {
    var template = [CChar]("/tmp/lyra-fuzz-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { fatalError("no directory can be made") }
    let directory = String(cString: made)
    guard symlink(memoryPath, directory + "/model.safetensors.index.json") == 0,
        atexit({ removeModelDirectory() }) == 0
    else { fatalError("\(directory): no link can be made") }
    return directory
}()

private func removeModelDirectory() {
    unlink(modelDirectory + "/model.safetensors.index.json")
    rmdir(modelDirectory)
}
