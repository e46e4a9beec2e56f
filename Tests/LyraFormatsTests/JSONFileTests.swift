import Foundation
import Testing

@testable import LyraFormats

@Suite struct JSONFileTests {
    struct Config: Decodable {
        struct Layer: Decodable { let size: Int }
        let name: String
        let layers: [Layer]
        let scale: Double?
    }

    private func decode(_ text: some Sequence<UInt8>) throws -> Config {
        let folder = try Folder()
        return try JSONFile.decode(Config.self, path: folder.write("config.json", text))
    }

    @Test func valuesAreDecodedAndUnknownKeysIgnored() throws {
        let config = try decode(
            #"{"name": "größe", "layers": [{"size": 3, "more": [1]}, {"size": 4}], "scale": null}"#.utf8)
        #expect(config.name == "größe" && config.layers.map(\.size) == [3, 4] && config.scale == nil)
    }

    @Test func errorsNameTheFileAndThePlace() throws {
        expect(.format, "config.json", "layers[1]", #""size" is missing"#) {
            _ = try decode(#"{"name": "a", "layers": [{"size": 3}, {}]}"#.utf8)
        }
        expect(.format, "config.json", "layers[0].size", "expected a whole number", "a string") {
            _ = try decode(#"{"name": "a", "layers": [{"size": "3"}]}"#.utf8)
        }
        expect(.format, "config.json", "number") { _ = try decode(#"{"name": "a", "layers": [{"size": 1e30}]}"#.utf8) }
        expect(.format, "at \"name\"", "null") { _ = try decode(#"{"name": null, "layers": []}"#.utf8) }
        expect(.format, "config.json", "ends too early", "at byte 9") { _ = try decode(#"{"name": "#.utf8) }
        expect(.format, "config.json") { _ = try decode([]) }
        expect(.format, "config.json") { _ = try decode("[1]".utf8) }
        expect(.format, "config.json", "UTF-8") { _ = try decode([0x22, 0xFF, 0x22]) }
        expect(.format, "config.json", "UTF-8") { _ = try decode("{\0}\0".utf8) }
        expect(.missing, "/nowhere/config.json") { _ = try JSONFile.decode(Config.self, path: "/nowhere/config.json") }
    }

    @Test func deepNestingIsAnError() throws {
        expect(.format, "config.json") { _ = try decode(Array(repeating: UInt8(ascii: "["), count: 1_000_000)) }
        expect(.format, "config.json") {
            _ = try decode(#"{"a":"#.utf8 + Array(repeating: UInt8(ascii: "["), count: 100_000))
        }
    }

    @Test func aFileBeyondTheLimitIsRefused() throws {
        let folder = try Folder()
        let path = try folder.write("config.json", [])
        #expect(truncate(path, off_t(JSONFile.configurationLimit + 1)) == 0)
        expect(.format, path, "\(JSONFile.configurationLimit)") { _ = try JSONFile.decode(Config.self, path: path) }
    }

    @Test func damageNeverCrashes() throws {
        let text = #"{"name": "größe", "layers": [{"size": 3}, {"size": 4}], "scale": 1.5e3, "x": {"y": [true, null]}}"#
        try damage(Array(text.utf8)) {
            _ = try JSONFile.decode(Config.self, path: $0)
            return []
        }
    }
}
