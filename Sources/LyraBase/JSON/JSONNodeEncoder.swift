/// Encodes a Swift value as a JSON tree. Members keep the order in which they are encoded.
final class JSONNodeEncoder: Encoder {
    /// The result so far; containers add to it.
    private enum State {
        case empty
        case value(JSONNode)
        case array([JSONNodeEncoder])
        case object([(key: String, value: JSONNodeEncoder)])
    }

    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }
    private var state = State.empty

    init(_ codingPath: [any CodingKey]) { self.codingPath = codingPath }

    /// The tree of the encoded value; an empty object if it encoded nothing.
    var node: JSONNode {
        switch state {
        case .empty: JSONNode(.object([]))
        case .value(let node): node
        case .array(let elements): JSONNode(.array(elements.map(\.node)))
        case .object(let members): JSONNode(.object(members.map { (key: $0.key, value: $0.value.node) }))
        }
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .object = state {} else { state = .object([]) }
        return KeyedEncodingContainer(KeyedContainer(encoder: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .array = state {} else { state = .array([]) }
        return UnkeyedContainer(encoder: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { SingleContainer(encoder: self) }

    // MARK: Adding to the result

    fileprivate func set(_ content: JSONNode.Content) { state = .value(JSONNode(content)) }

    fileprivate func set<T: BinaryFloatingPoint & CustomStringConvertible>(_ value: T) throws {
        guard value.isFinite else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: codingPath, debugDescription: "JSON cannot represent \(value)"))
        }
        set(.number(value.description))
    }

    fileprivate func member(_ key: some CodingKey) -> JSONNodeEncoder {
        let encoder = JSONNodeEncoder(codingPath + [key])
        guard case .object(var members) = state else { return encoder }
        state = .empty  // Releases the array, so that appending does not copy it.
        members.append((key.stringValue, encoder))
        state = .object(members)
        return encoder
    }

    fileprivate var elementCount: Int { if case .array(let elements) = state { elements.count } else { 0 } }

    fileprivate func element() -> JSONNodeEncoder {
        let encoder = JSONNodeEncoder(codingPath + [JSONPathKey(elementCount)])
        guard case .array(var elements) = state else { return encoder }
        state = .empty  // Releases the array, so that appending does not copy it.
        elements.append(encoder)
        state = .array(elements)
        return encoder
    }
}

private struct SingleContainer: SingleValueEncodingContainer {
    let encoder: JSONNodeEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }

    func encodeNil() { encoder.set(.null) }
    func encode(_ value: Bool) { encoder.set(.bool(value)) }
    func encode(_ value: String) { encoder.set(.string(value)) }
    func encode(_ value: Double) throws { try encoder.set(value) }
    func encode(_ value: Float) throws { try encoder.set(value) }
    func encode(_ value: Int) { encoder.set(.number("\(value)")) }
    func encode(_ value: Int8) { encoder.set(.number("\(value)")) }
    func encode(_ value: Int16) { encoder.set(.number("\(value)")) }
    func encode(_ value: Int32) { encoder.set(.number("\(value)")) }
    func encode(_ value: Int64) { encoder.set(.number("\(value)")) }
    func encode(_ value: UInt) { encoder.set(.number("\(value)")) }
    func encode(_ value: UInt8) { encoder.set(.number("\(value)")) }
    func encode(_ value: UInt16) { encoder.set(.number("\(value)")) }
    func encode(_ value: UInt32) { encoder.set(.number("\(value)")) }
    func encode(_ value: UInt64) { encoder.set(.number("\(value)")) }
    func encode<T: Encodable>(_ value: T) throws { try value.encode(to: encoder) }
}

private struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let encoder: JSONNodeEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }

    func encodeNil(forKey key: Key) { encoder.member(key).set(.null) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try value.encode(to: encoder.member(key)) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { encoder.member(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder.member(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { encoder.member(JSONPathKey("super")) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder.member(key) }
}

private struct UnkeyedContainer: UnkeyedEncodingContainer {
    let encoder: JSONNodeEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }
    var count: Int { encoder.elementCount }

    func encodeNil() { encoder.element().set(.null) }
    func encode<T: Encodable>(_ value: T) throws { try value.encode(to: encoder.element()) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        encoder.element().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder.element().unkeyedContainer() }
    func superEncoder() -> any Encoder { encoder.element() }
}
