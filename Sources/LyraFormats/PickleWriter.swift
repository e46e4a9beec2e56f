import LyraTensor

/// Writes the pickle of a dict of tensors, protocol 2, as torch.save does.
enum PickleWriter {
    /// `{key: {… {name: tensor}}}`, where tensor number i is the whole of storage `"i"`.
    static func stateDict(_ tensors: [TensorSpec], under keys: [String]) -> [UInt8] {
        var bytes: [UInt8] = [PickleOpcode.proto.rawValue, 2]
        for key in keys {
            add(.emptyDict, to: &bytes)
            add(key, to: &bytes)
        }
        add(.emptyDict, to: &bytes)
        add(.mark, to: &bytes)
        for (index, tensor) in tensors.enumerated() {
            add(tensor.name, to: &bytes)
            add(tensor, storage: String(index), to: &bytes)
        }
        add(.setItems, to: &bytes)
        for _ in keys { add(.setItem, to: &bytes) }
        add(.stop, to: &bytes)
        return bytes
    }

    private static func add(_ tensor: TensorSpec, storage key: String, to bytes: inout [UInt8]) {
        addGlobal("torch._utils", "_rebuild_tensor_v2", to: &bytes)
        add(.mark, to: &bytes)
        add(.mark, to: &bytes)
        add("storage", to: &bytes)
        addGlobal("torch", PickleGlobal.storageClass(tensor.type) ?? "", to: &bytes)
        add(key, to: &bytes)
        add("cpu", to: &bytes)
        add(ElementType.count(of: tensor.shape) ?? 0, to: &bytes)
        add(.tuple, to: &bytes)
        add(.binPersId, to: &bytes)
        add(0, to: &bytes)
        add(tensor.shape, to: &bytes)
        add(strides(tensor.shape), to: &bytes)
        add(.newFalse, to: &bytes)
        addGlobal("collections", "OrderedDict", to: &bytes)
        add(.emptyTuple, to: &bytes)
        add(.reduce, to: &bytes)
        add(.tuple, to: &bytes)
        add(.reduce, to: &bytes)
    }

    /// Row-major strides. The layout has checked that the axes that are not 0 have a product that fits.
    private static func strides(_ shape: [Int]) -> [Int] {
        var strides = shape
        var next = 1
        for axis in shape.indices.reversed() {
            strides[axis] = next
            next *= max(shape[axis], 1)
        }
        return strides
    }

    private static func add(_ opcode: PickleOpcode, to bytes: inout [UInt8]) { bytes.append(opcode.rawValue) }

    private static func add(_ text: String, to bytes: inout [UInt8]) {
        add(.binUnicode, to: &bytes)
        bytes.append(UInt32(truncatingIfNeeded: text.utf8.count))
        bytes += Array(text.utf8)
    }

    private static func add(_ number: Int, to bytes: inout [UInt8]) {
        if let small = Int32(exactly: number) {
            add(.binInt, to: &bytes)
            bytes.append(UInt32(bitPattern: small))
        } else {
            add(.long1, to: &bytes)
            bytes.append(8 as UInt8)
            bytes.append(UInt64(bitPattern: Int64(number)))
        }
    }

    private static func add(_ numbers: [Int], to bytes: inout [UInt8]) {
        add(.mark, to: &bytes)
        for number in numbers { add(number, to: &bytes) }
        add(.tuple, to: &bytes)
    }

    private static func addGlobal(_ module: String, _ name: String, to bytes: inout [UInt8]) {
        add(.global, to: &bytes)
        bytes += Array("\(module)\n\(name)\n".utf8)
    }
}
