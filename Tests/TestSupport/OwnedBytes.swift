import LyraTensor

/// Memory that is freed with the last reference: the owner of a tensor made in a test.
package final class OwnedBytes {
    package let memory: UnsafeMutableRawBufferPointer

    package init(_ bytes: [UInt8]) {
        memory = .allocate(byteCount: bytes.count, alignment: 8)
        memory.copyBytes(from: bytes)
    }

    deinit { memory.deallocate() }
}

extension StoredTensor {
    /// A tensor of these bytes.
    package init(_ type: ElementType, _ shape: [Int], _ bytes: [UInt8], name: String = "w", typeName: String? = nil) {
        let owner = OwnedBytes(bytes)
        self.init(
            name: name, type: type, shape: shape, bytes: UnsafeRawBufferPointer(owner.memory), owner: owner,
            source: "test", typeName: typeName)
    }
}
