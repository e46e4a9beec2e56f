import LyraBase
import LyraTensor

/// The content of a torch.save file: tensors in plain containers.
public indirect enum TorchValue: Sendable {
    /// A dict or OrderedDict, in the order of the file. Integer keys stand as decimal text; no key is there twice.
    case dict([(String, TorchValue)])
    /// A list or tuple.
    case list([TorchValue])
    case tensor(StoredTensor)
    case int(Int)
    case float(Double)
    case string(String)
    case bool(Bool)
    case none

    /// The value under a key; nil when this is not a dict or has no such key.
    public subscript(key: String) -> TorchValue? {
        guard case .dict(let items) = self else { return nil }
        return items.first { $0.0 == key }?.1
    }
}

/// Turns the result of a `PickleMachine` into values that own their tensors.
///
/// A short pickle can describe a huge tree, with one container in many places, or an endless one, with a container
/// inside itself. So depth, number of values and length of names are bounded.
struct TorchValueBuilder {
    static let depthLimit = 64

    let machine: PickleMachine
    let file: MappedFile
    /// Where the bytes of each storage lie in the file, by its key.
    let storages: [String: Range<Int>]
    private var valuesLeft: Int
    private var nameBytesLeft: Int

    /// - Parameter pickleSize: Bytes of the pickle, which bound the size of the tree.
    init(machine: PickleMachine, file: MappedFile, storages: [String: Range<Int>], pickleSize: Int) {
        self.machine = machine
        self.file = file
        self.storages = storages
        // A value takes at least one byte of the pickle unless it is repeated, and a name is spelled out once.
        valuesLeft = min(1024 + pickleSize, PickleMachine.opcodeLimit)
        nameBytesLeft = min(65_536 + 16 * pickleSize, 2 * PickleMachine.byteLimit)
    }

    /// - Parameters:
    ///   - name: The keys that lead to the value, joined by dots.
    ///   - depth: How many containers the value is in.
    mutating func build(_ value: PickleValue, name: String = "", depth: Int = 0) throws -> TorchValue {
        valuesLeft -= 1
        nameBytesLeft -= name.utf8.count
        guard depth <= Self.depthLimit, valuesLeft >= 0, nameBytesLeft >= 0 else {
            throw LyraError(
                .format,
                "\(file.path): the containers at \(shown(name)) are nested or repeated more than in any state dict; is "
                    + "the file damaged?")
        }
        switch value {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .float(let value): return .float(value)
        case .string(let value): return .string(value)
        case .longInt:
            throw LyraError(.unsupported, "\(file.path): \(shown(name)) is an integer of more than 64 bits")
        case .global, .storage:
            throw LyraError(.unsupported, "\(file.path): \(shown(name)) is a class or a bare storage, not a tensor")
        case .tensor(let index): return .tensor(try tensor(machine.tensors[index], name: name))
        case .container(let index):
            let container = machine.containers[index]
            guard container.kind != .dict else { return try dict(container.items, name: name, depth: depth) }
            var list: [TorchValue] = []
            for (index, item) in container.items.enumerated() {
                list.append(try build(item, name: join(name, String(index)), depth: depth + 1))
            }
            return .list(list)
        }
    }

    private mutating func dict(_ items: [PickleValue], name: String, depth: Int) throws -> TorchValue {
        var seen: Set<String> = []
        var result: [(String, TorchValue)] = []
        for index in stride(from: 0, to: items.count - 1, by: 2) {
            let key: String
            switch items[index] {
            case .string(let text): key = text
            case .int(let number): key = String(number)
            default:
                throw LyraError(
                    .unsupported, "\(file.path): a key of the dict \(shown(name)) is neither text nor an integer")
            }
            guard seen.insert(key).inserted else {
                throw LyraError(.format, "\(file.path): the dict \(shown(name)) has the key \(shown(key)) twice")
            }
            result.append((key, try build(items[index + 1], name: join(name, key), depth: depth + 1)))
        }
        return .dict(result)
    }

    private func join(_ name: String, _ key: String) -> String { name.isEmpty ? key : name + "." + key }

    private func tensor(_ tensor: PickleTensor, name: String) throws -> StoredTensor {
        let storage = machine.storages[tensor.storage]
        let source = "\(file.path): tensor \(shown(name))"
        guard let bytes = storages[storage.key] else {
            throw LyraError(.format, "\(source): its storage \(shown(storage.key)) is missing; the file is damaged")
        }
        guard storage.type.byteCount(of: [storage.count]) == bytes.count else {
            throw LyraError(
                .format,
                "\(source): storage \(shown(storage.key)) at byte \(bytes.lowerBound) has \(bytes.count) bytes, not "
                    + "\(storage.count) elements of \(storage.type.rawValue); the file is damaged")
        }
        guard let count = ElementType.count(of: tensor.shape), tensor.strides.count == tensor.shape.count,
            tensor.offset >= 0, tensor.offset <= storage.view.count, count <= storage.view.count - tensor.offset
        else {
            throw LyraError(
                .format,
                "\(source): shape \(tensor.shape.prefix(16)) at element \(tensor.offset) does not fit its storage of "
                    + "\(storage.view.count) elements; the file is damaged")
        }
        guard count == 0 || Self.isContiguous(tensor) else {
            throw LyraError(
                .unsupported,
                "\(source) is not contiguous (shape \(tensor.shape.prefix(16)), strides "
                    + "\(tensor.strides.prefix(16))); save it again after .contiguous()")
        }
        // No overflow: each value is at most the size of the storage, which lies in the file.
        let start = bytes.lowerBound + (storage.view.lowerBound + tensor.offset) * storage.type.size
        let slice = file.bytes[start..<start + count * storage.type.size]
        return StoredTensor(
            name: name, type: storage.type, shape: tensor.shape, bytes: UnsafeRawBufferPointer(rebasing: slice),
            owner: file,
            source: file.path)
    }

    /// Whether the elements lie in row-major order without gaps. The product of the shape is known to fit.
    private static func isContiguous(_ tensor: PickleTensor) -> Bool {
        var expected = 1
        for (size, stride) in zip(tensor.shape, tensor.strides).reversed() where size != 1 {
            if stride != expected { return false }
            expected *= size
        }
        return true
    }
}
