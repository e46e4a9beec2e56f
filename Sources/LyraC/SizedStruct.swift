import CLyra
import Glibc
import Lyra

/// A struct of the header whose first member is its size, which tells how many fields the caller knows.
protocol SizedStruct {
    init()
    var size: Int { get set }
    /// Sizes that no version of the struct had although they are aligned: those that end within an array.
    static var impossibleSizes: Range<Int> { get }
}

extension SizedStruct {
    static var impossibleSizes: Range<Int> { 0..<0 }
}

extension lyra_model_options: SizedStruct {}
extension lyra_model_info: SizedStruct {}
extension lyra_session_options: SizedStruct {}
extension lyra_progress: SizedStruct {}
extension lyra_usage: SizedStruct {
    static var impossibleSizes: Range<Int> {
        guard let adapter = MemoryLayout<lyra_usage>.offset(of: \.adapter) else { return 0..<0 }
        return adapter + 1..<adapter + MemoryLayout.size(ofValue: lyra_usage().adapter)
    }
}
extension lyra_media: SizedStruct {}
extension lyra_reader: SizedStruct {}
extension lyra_video_options: SizedStruct {}

extension SizedStruct {
    /// Copies the fields that the caller knows; all other fields are zero.
    ///
    /// - Throws: `LyraError.argument` for a size that no version of the struct had.
    init(from pointer: UnsafePointer<Self>) throws {
        self.init()
        // Read only the size first: the struct may be shorter than this type.
        let size = UnsafeRawPointer(pointer).load(as: Int.self)
        try Self.check(size)
        withUnsafeMutableBytes(of: &self) {
            $0.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: min(size, $0.count)))
        }
    }

    /// Writes the fields that the caller knows, except the size.
    func copy(to pointer: UnsafeMutablePointer<Self>) throws {
        let size = UnsafeRawPointer(pointer).load(as: Int.self)
        try Self.check(size)
        var copy = self
        copy.size = size
        withUnsafeBytes(of: copy) {
            UnsafeMutableRawBufferPointer(start: pointer, count: min(size, $0.count))
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<min(size, $0.count)]))
        }
    }

    /// Fills the caller's struct with zeros, which are the defaults, and sets its size.
    static func initialize(_ pointer: UnsafeMutablePointer<Self>?, _ size: Int) -> lyra_status {
        status {
            let pointer = try required(pointer, "the struct to initialize")
            try check(size)
            memset(pointer, 0, size)
            UnsafeMutableRawPointer(pointer).storeBytes(of: size, as: Int.self)
        }
    }

    /// Every version ends with a whole field, padded to the alignment. A struct of a later version may be larger.
    private static func check(_ size: Int) throws {
        guard size >= MemoryLayout<Int>.size, size <= 4096, size % MemoryLayout<Self>.alignment == 0,
            !impossibleSizes.contains(size)
        else {
            throw LyraError(
                .argument, "a struct's size is \(size), which no version of it had: call its init function first")
        }
    }
}
