import LyraBase
import LyraTensor

/// A value on the stack or in the memo of a pickle.
enum PickleValue {
    case none
    case bool(Bool)
    case int(Int)
    /// An integer of more than 8 bytes, least significant byte first, two's complement.
    case longInt([UInt8])
    case float(Double)
    case string(String)
    case global(PickleGlobal)
    /// An index into `PickleMachine.containers`.
    case container(Int)
    /// An index into `PickleMachine.storages`.
    case storage(Int)
    /// An index into `PickleMachine.tensors`.
    case tensor(Int)
}

/// A dict, list or tuple. Values refer to it by index, so containers that are deeply nested or contain each other cause
/// neither recursion nor reference cycles.
struct PickleContainer {
    enum Kind { case dict, list, tuple }
    let kind: Kind
    /// The elements; in a dict, keys and values alternate.
    var items: [PickleValue] = []
}

/// A storage as a persistent id describes it.
struct PickleStorage {
    let key: String
    let type: ElementType
    /// Elements of the whole storage.
    let count: Int
    /// The elements that the id refers to.
    let view: Range<Int>
}

/// A tensor as `_rebuild_tensor_v2` describes it, not yet checked against its storage.
struct PickleTensor {
    /// An index into `PickleMachine.storages`.
    let storage: Int
    /// In elements, from the start of the storage's view.
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// Reads one pickle of a torch.save file into plain values. Nothing in the pickle is executed.
///
/// The reader accepts the opcodes and globals that torch.save writes for tensors in dicts, lists and tuples, and
/// refuses all others by name. Memory is bounded by the number of opcodes and the length of the pickle.
struct PickleMachine {
    /// The longest pickle that is read; those of published models have less than 1 MB.
    static let byteLimit = 16 << 20
    /// The most opcodes of a pickle. An opcode makes at most one value; a tensor takes about 40 opcodes.
    static let opcodeLimit = 1 << 20
    /// The most values on the stack. torch.save adds items to dicts and lists in batches of 1000.
    static let stackLimit = 1 << 16
    /// The most values in the memo.
    static let memoLimit = 1 << 18

    var containers: [PickleContainer] = []
    var storages: [PickleStorage] = []
    var tensors: [PickleTensor] = []

    private var cursor: ByteCursor
    private var stack: [PickleValue] = []
    /// For every open mark, the height of the stack when it was set.
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    /// The file offset of the current opcode.
    private var place = 0

    private init(_ cursor: ByteCursor) { self.cursor = cursor }

    /// Reads the pickle at the cursor, and moves the cursor past its STOP.
    ///
    /// - Returns: The pickled value, and the machine with the containers, storages and tensors that the value
    ///   refers to.
    /// - Throws: `.unsupported`, with the name and the offset, for an opcode or a global that is not allowed; `.format`
    ///   for a damaged pickle.
    static func read(_ cursor: inout ByteCursor) throws -> (value: PickleValue, machine: PickleMachine) {
        var machine = PickleMachine(cursor)
        let start = cursor.position
        var opcodes = 0
        repeat {
            machine.place = machine.cursor.offset
            let byte: UInt8 = try machine.cursor.integer()
            guard let opcode = PickleOpcode(rawValue: byte) else { throw machine.unknown(byte) }
            if opcode == .stop { break }
            try machine.step(opcode)
            opcodes += 1
            guard machine.cursor.position - start <= byteLimit, opcodes <= opcodeLimit,
                machine.stack.count <= stackLimit, machine.marks.count <= stackLimit, machine.memo.count <= memoLimit
            else {
                throw machine.failure("larger than any pickle of a state dict")
            }
        } while true
        let value = try machine.pop()
        cursor = machine.cursor
        return (value, machine)
    }

    private mutating func step(_ opcode: PickleOpcode) throws {
        switch opcode {
        case .proto: try checkProtocol()
        case .frame:
            // A frame only lets a reader prefetch; its content is ordinary opcodes.
            let length: UInt64 = try cursor.integer()
            guard length <= UInt64(cursor.remaining) else { throw failure("a frame of \(length) bytes is truncated") }
        case .stop: break
        case .mark: marks.append(stack.count)
        case .none: stack.append(.none)
        case .newTrue: stack.append(.bool(true))
        case .newFalse: stack.append(.bool(false))
        case .binInt: stack.append(.int(Int(try cursor.integer(Int32.self))))
        case .binInt1: stack.append(.int(Int(try cursor.integer(UInt8.self))))
        case .binInt2: stack.append(.int(Int(try cursor.integer(UInt16.self))))
        case .long1: try pushLong()
        case .binFloat: stack.append(.float(Double(bitPattern: try cursor.integer(UInt64.self).byteSwapped)))
        case .shortBinString, .shortBinUnicode: try pushText(UInt64(try cursor.integer(UInt8.self)))
        case .binString, .binUnicode: try pushText(UInt64(try cursor.integer(UInt32.self)))
        case .binUnicode8: try pushText(try cursor.integer(UInt64.self))
        case .emptyTuple: push(.init(kind: .tuple))
        case .tuple: push(.init(kind: .tuple, items: try popToMark()))
        case .tuple1: push(.init(kind: .tuple, items: try pop(count: 1)))
        case .tuple2: push(.init(kind: .tuple, items: try pop(count: 2)))
        case .tuple3: push(.init(kind: .tuple, items: try pop(count: 3)))
        case .emptyList: push(.init(kind: .list))
        case .append: try add(pop(count: 1), to: .list)
        case .appends: try add(popToMark(), to: .list)
        case .emptyDict: push(.init(kind: .dict))
        case .setItem: try add(pop(count: 2), to: .dict)
        case .setItems: try add(popToMark(), to: .dict)
        case .binPut: memo[Int(try cursor.integer(UInt8.self))] = try top()
        case .longBinPut: memo[Int(try cursor.integer(UInt32.self))] = try top()
        case .memoize: memo[memo.count] = try top()
        case .binGet: try recall(Int(try cursor.integer(UInt8.self)))
        case .longBinGet: try recall(Int(try cursor.integer(UInt32.self)))
        case .global: try pushGlobal(module: cursor.line(limit: 1024), name: cursor.line(limit: 1024))
        case .stackGlobal: try stackGlobal()
        case .reduce: try reduce()
        case .build: try build()
        case .binPersId: try loadPersistent()
        }
    }

    // MARK: Stack and memo

    private func top() throws -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.last else { throw failure("its stack is empty") }
        return value
    }

    private mutating func pop() throws -> PickleValue {
        let value = try top()
        stack.removeLast()
        return value
    }

    private mutating func pop(count: Int) throws -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw failure("its stack is empty") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    private mutating func popToMark() throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw failure("a mark is missing") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func push(_ container: PickleContainer) {
        stack.append(.container(containers.count))
        containers.append(container)
    }

    private mutating func recall(_ key: Int) throws {
        guard let value = memo[key] else { throw failure("memo \(key) is read but was never set") }
        stack.append(value)
    }

    private mutating func add(_ items: [PickleValue], to kind: PickleContainer.Kind) throws {
        guard case .container(let index) = try top(), containers[index].kind == kind,
            kind != .dict || items.count.isMultiple(of: 2)
        else {
            throw failure("items are added to a value that is not a \(kind)")
        }
        containers[index].items += items
    }

    // MARK: Plain values

    private mutating func checkProtocol() throws {
        let version: UInt8 = try cursor.integer()
        guard version <= 5 else {
            throw LyraError(
                .unsupported, "\(cursor.source): pickle protocol \(version) at byte \(place); lyra reads up to 5")
        }
    }

    private mutating func pushLong() throws {
        let bytes = try cursor.take(Int(try cursor.integer(UInt8.self)))
        guard bytes.count <= 8 else {
            stack.append(.longInt(Array(bytes)))
            return
        }
        var value: UInt64 = bytes.last.map { $0 & 0x80 != 0 } ?? false ? .max : 0
        for byte in bytes.reversed() { value = value << 8 | UInt64(byte) }
        stack.append(.int(Int(Int64(bitPattern: value))))
    }

    private mutating func pushText(_ count: UInt64) throws {
        stack.append(.string(try cursor.text(Int(clamping: count))))
    }

    // MARK: Globals and calls

    private mutating func pushGlobal(module: String, name: String) throws {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw LyraError(
                .unsupported,
                "\(cursor.source): the pickle names \(shown(module + "." + name)) at byte \(place); lyra reads only "
                    + "state dicts of tensors, and runs no code from a file. Save it again as a plain dict of tensors")
        }
        stack.append(.global(global))
    }

    private mutating func stackGlobal() throws {
        let parts = try pop(count: 2)
        guard case .string(let module) = parts[0], case .string(let name) = parts[1] else {
            throw failure("the name of a global is not text")
        }
        try pushGlobal(module: module, name: name)
    }

    private mutating func reduce() throws {
        let parts = try pop(count: 2)
        guard case .global(let global) = parts[0], let arguments = items(parts[1], .tuple) else {
            throw failure("REDUCE calls a value that is not a global")
        }
        switch global {
        case .orderedDict:
            guard arguments.isEmpty else { throw failure("an OrderedDict has arguments") }
            push(.init(kind: .dict))
        case .rebuildTensor:
            stack.append(.tensor(tensors.count))
            tensors.append(try tensor(arguments))
        case .rebuildParameter:
            guard arguments.count == 3, case .tensor(let index) = arguments[0] else {
                throw failure("the arguments of _rebuild_parameter are not a tensor, a flag and hooks")
            }
            stack.append(.tensor(index))
        case .storage:
            throw failure("REDUCE calls a storage class")
        }
    }

    /// BUILD sets `_metadata` (module versions) on a state dict. The tensors do not depend on it, so it is dropped.
    private mutating func build() throws {
        _ = try pop()
        guard case .container(let index) = try top(), containers[index].kind == .dict else {
            throw LyraError(
                .unsupported,
                "\(cursor.source): the pickle opcode BUILD at byte \(place) applies to a value that is not a dict")
        }
    }

    private func tensor(_ arguments: [PickleValue]) throws -> PickleTensor {
        guard arguments.count == 6 || arguments.count == 7, case .storage(let storage) = arguments[0],
            case .int(let offset) = arguments[1], let shape = integers(arguments[2]),
            let strides = integers(arguments[3])
        else {
            throw failure("the arguments of _rebuild_tensor_v2 are not a storage, an offset, a shape and strides")
        }
        // The seventh argument requests that the numbers be conjugated or negated.
        if arguments.count == 7, items(arguments[6], .dict)?.isEmpty != true {
            throw LyraError(
                .unsupported, "\(cursor.source): a tensor with metadata (conjugate or negated view) at byte \(place)")
        }
        return PickleTensor(storage: storage, offset: offset, shape: shape, strides: strides)
    }

    /// A storage: `("storage", class, key, device, element count)`; the legacy form can append a view.
    private mutating func loadPersistent() throws {
        guard let id = items(try pop(), .tuple), id.count >= 5, id.count <= 6, case .string("storage") = id[0],
            case .global(.storage(let type)) = id[1], case .string(let key) = id[2], case .int(let count) = id[4],
            count >= 0
        else {
            throw LyraError(
                .unsupported,
                "\(cursor.source): the object at byte \(place) is not the storage of a tensor; lyra reads state dicts, "
                    + "not whole modules")
        }
        var view = 0..<count
        if id.count == 6, let window = items(id[5], .tuple) {
            guard window.count == 3, case .int(let start) = window[1], case .int(let length) = window[2],
                start >= 0, start <= count, length >= 0, length <= count - start
            else {
                throw failure("a view lies outside of its storage")
            }
            view = start..<start + length
        }
        stack.append(.storage(storages.count))
        storages.append(PickleStorage(key: key, type: type, count: count, view: view))
    }

    // MARK: Reading values

    /// The elements of a container of this kind; nil for anything else.
    func items(_ value: PickleValue, _ kind: PickleContainer.Kind) -> [PickleValue]? {
        guard case .container(let index) = value, containers[index].kind == kind else { return nil }
        return containers[index].items
    }

    /// The value under a string key in a dict; nil if the value is no dict or lacks the key.
    func lookUp(_ key: String, in value: PickleValue) -> PickleValue? {
        guard let items = items(value, .dict) else { return nil }
        for index in stride(from: 0, to: items.count - 1, by: 2) {
            if case .string(key) = items[index] { return items[index + 1] }
        }
        return nil
    }

    private func integers(_ value: PickleValue) -> [Int]? {
        // A shape has few axes. Without the limit, a long tuple recalled often would be copied each time.
        guard let items = items(value, .tuple), items.count <= 64 else { return nil }
        var result: [Int] = []
        for case .int(let number) in items { result.append(number) }
        return result.count == items.count ? result : nil
    }

    private func failure(_ reason: String) -> LyraError {
        LyraError(.format, "\(cursor.source): \(cursor.section) is damaged at byte \(place): \(reason)")
    }

    private func unknown(_ byte: UInt8) -> LyraError {
        if let name = PickleOpcode.refused[byte] {
            return LyraError(
                .unsupported,
                "\(cursor.source): the pickle opcode \(name) at byte \(place) is not one that a state dict of "
                    + "tensors needs"
            )
        }
        return failure("\(byte) is not a pickle opcode")
    }
}
