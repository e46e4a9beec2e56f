/// An SVG drawing on white. Coordinates are pixels from the top left corner.
struct SVGCanvas {
    static let ink = "#1f2430"
    static let faint = "#5b6270"
    static let grid = "#dfe3ea"

    enum Anchor: String { case start, middle, end }

    private let width: Double
    private let height: Double
    private var elements: [String] = []

    init(width: Double, height: Double) {
        (self.width, self.height) = (width, height)
        rect(x: 0, y: 0, width: width, height: height, fill: "#ffffff")
    }

    var svg: String {
        let size = "width=\"\(Self.number(width))\" height=\"\(Self.number(height))\""
        let box = "viewBox=\"0 0 \(Self.number(width)) \(Self.number(height))\""
        // Stripes for cells without a value.
        let pattern = """
            <defs><pattern id="none" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
            <rect width="6" height="6" fill="#f1f2f5"/><rect width="2" height="6" fill="#c9ced8"/></pattern></defs>
            """
        let open = "<svg xmlns=\"http://www.w3.org/2000/svg\" \(size) \(box) \(Self.font)>"
        return ([open, pattern] + elements + ["</svg>"]).joined(separator: "\n") + "\n"
    }

    private static let font = "font-family=\"DejaVu Sans, Verdana, Helvetica, Arial, sans-serif\""

    /// Estimated width of a text.
    static func width(_ text: String, size: Double) -> Double { Double(text.count) * size * 0.6 }

    mutating func rect(x: Double, y: Double, width: Double, height: Double, fill: String, stroke: String? = nil) {
        let line = stroke.map { " stroke=\"\($0)\"" } ?? ""
        elements.append(
            "<rect \(Self.at(("x", x), ("y", y), ("width", width), ("height", height))) fill=\"\(fill)\"\(line)/>")
    }

    mutating func line(_ a: (x: Double, y: Double), _ b: (x: Double, y: Double), _ color: String, width: Double = 1) {
        let ends = Self.at(("x1", a.x), ("y1", a.y), ("x2", b.x), ("y2", b.y), ("stroke-width", width))
        elements.append("<line \(ends) stroke=\"\(color)\"/>")
    }

    /// A line through points, with a dot at each.
    mutating func path(_ points: [(x: Double, y: Double)], _ color: String, dashed: Bool = false) {
        let places = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
        let dash = dashed ? " stroke-dasharray=\"5 4\" opacity=\"0.75\"" : ""
        elements.append("<polyline points=\"\(places)\" fill=\"none\" stroke=\"\(color)\" stroke-width=\"2\"\(dash)/>")
        for point in points { dot(point, color, hollow: dashed) }
    }

    /// A line through points, without dots.
    mutating func line(
        through points: [(x: Double, y: Double)], _ color: String, width: Double, opacity: Double = 1
    ) {
        let places = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
        let paint = "\(Self.at(("stroke-width", width), ("opacity", opacity))) stroke=\"\(color)\" fill=\"none\""
        elements.append("<polyline points=\"\(places)\" \(paint)/>")
    }

    mutating func dot(_ place: (x: Double, y: Double), _ color: String, hollow: Bool = false) {
        let ring = Self.at(("cx", place.x), ("cy", place.y), ("r", hollow ? 2.6 : 3.2))
        elements.append(
            "<circle \(ring) fill=\"\(hollow ? "#ffffff" : color)\" stroke=\"\(color)\" stroke-width=\"1.4\"/>")
    }

    /// - Parameters:
    ///   - y: the baseline
    ///   - vertical: whether the text runs from bottom to top
    mutating func text(
        _ text: String, x: Double, y: Double, size: Double = 12, anchor: Anchor = .middle, color: String = ink,
        bold: Bool = false, vertical: Bool = false
    ) {
        let rotation = vertical ? " transform=\"rotate(-90 \(Self.number(x)) \(Self.number(y)))\"" : ""
        let weight = bold ? " font-weight=\"bold\"" : ""
        elements.append(
            "<text \(Self.at(("x", x), ("y", y), ("font-size", size))) text-anchor=\"\(anchor.rawValue)\" "
                + "fill=\"\(color)\"\(weight)\(rotation)>\(Self.escaped(text))</text>")
    }

    private static func at(_ attributes: (String, Double)...) -> String {
        attributes.map { "\($0)=\"\(number($1))\"" }.joined(separator: " ")
    }

    /// Rounds to at most two decimals.
    private static func number(_ value: Double) -> String {
        let rounded = (value * 100).rounded() / 100
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case _ where scalar.value < 0x20: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
