/// A token that stands for a fixed text outside BPE, such as `<|im_end|>`.
public struct AddedToken: Sendable, Equatable {
    /// The text as UTF-8.
    public let content: [UInt8]
    public let id: Int
    /// Special tokens control the model and are omitted from displayed text.
    public let isSpecial: Bool

    public init(content: [UInt8], id: Int, isSpecial: Bool = true) {
        self.content = content
        self.id = id
        self.isSpecial = isSpecial
    }
}

/// Finds added tokens in text: a trie over their bytes, children as linked lists, because nodes of so few
/// tokens have few children.
struct AddedTokenTrie: Sendable {
    private struct Node {
        let byte: UInt8
        var firstChild: Int32 = -1
        var sibling: Int32 = -1
        /// Index into the list of added tokens, or −1.
        var token: Int32 = -1
    }

    /// Maximum bytes of a token's text. Bounds the search: each position costs at most this many steps.
    static let lengthLimit = 256

    private var nodes = [Node(byte: 0)]
    /// Whether some token starts with the byte.
    private var startsToken = [Bool](repeating: false, count: 256)

    /// Adds a token of one byte or more. Contents are distinct.
    mutating func insert(_ content: [UInt8], token: Int32) {
        var node = 0
        for byte in content {
            if let child = child(of: node, byte) {
                node = child
            } else {
                nodes.append(Node(byte: byte, sibling: nodes[node].firstChild))
                nodes[node].firstChild = Int32(truncatingIfNeeded: nodes.count - 1)
                node = nodes.count - 1
            }
        }
        nodes[node].token = token
        if let first = content.first { startsToken[Int(first)] = true }
    }

    private func child(of node: Int, _ byte: UInt8) -> Int? {
        var child = nodes[node].firstChild
        while child >= 0 {
            if nodes[Int(child)].byte == byte { return Int(child) }
            child = nodes[Int(child)].sibling
        }
        return nil
    }

    /// The leftmost accepted token that starts in `starts`; the longest, if several start at the same place.
    func firstMatch(
        in text: UnsafeBufferPointer<UInt8>, starts: Range<Int>, accept: (Int) -> Bool
    ) -> (token: Int, range: Range<Int>)? {
        for start in starts where startsToken[Int(text[start])] {
            var found: (token: Int, range: Range<Int>)?
            var node = 0
            for position in start..<text.count {
                guard let child = child(of: node, text[position]) else { break }
                node = child
                let token = Int(nodes[node].token)
                if token >= 0, accept(token) { found = (token, start..<position + 1) }
            }
            if let found { return found }
        }
        return nil
    }
}
