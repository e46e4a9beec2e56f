import Lyra

/// The fixtures' small model of random weights, opened once.
public let fuzzModel: Model = {
    do { return try Model(path: fuzzModelPath) } catch { fatalError("the fixtures' model cannot be opened: \(error)") }
}()

public let fuzzModelPath = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/") + "/Fixtures/b/lyra"
