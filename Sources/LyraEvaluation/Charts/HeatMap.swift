/// A table of shares, 0…1, drawn as colored cells.
package struct HeatMap {
    var title: String
    /// Lines below the title.
    var notes: [String]
    var xLabel: String
    var yLabel: String
    var columns: [String]
    var rows: [String]
    /// [rows][columns]; nil is a cell without a value, drawn in stripes.
    var values: [[Double?]]
    /// Text in striped cells.
    var missing = "–"
    /// Lines below the cells: a name, and a text for each column.
    var footer: [(name: String, texts: [String])]
    /// Label of the color scale.
    var scale: String

    private static let cell = (width: 76.0, height: 46.0)
    private var top: Double { 52 + Double(notes.count) * 17 }

    package var svg: String {
        let rowNames = (rows + footer.map(\.name)).map { SVGCanvas.width($0, size: 12) }.max() ?? 0
        let left = 44 + max(rowNames, 30) + 12
        let grid = (width: Double(columns.count) * Self.cell.width, height: Double(rows.count) * Self.cell.height)
        let titles =
            max(SVGCanvas.width(title, size: 16), notes.map { SVGCanvas.width($0, size: 11.5) }.max() ?? 0) + 44
        let width = max(left + grid.width + 110, titles)
        let footerTop = top + grid.height + 56
        var canvas = SVGCanvas(width: width, height: footerTop + Double(footer.count) * 20 + 16)
        canvas.text(title, x: 24, y: 30, size: 16, anchor: .start, bold: true)
        for (line, note) in notes.enumerated() {
            canvas.text(note, x: 24, y: 50 + Double(line) * 17, size: 11.5, anchor: .start, color: SVGCanvas.faint)
        }
        drawCells(&canvas, left)
        for (row, name) in rows.enumerated() {
            let y = top + (Double(row) + 0.5) * Self.cell.height + 4
            canvas.text(name, x: left - 10, y: y, anchor: .end)
        }
        canvas.text(yLabel, x: 30, y: top + grid.height / 2, color: SVGCanvas.faint, vertical: true)
        for (column, name) in columns.enumerated() {
            canvas.text(name, x: center(column, left), y: top + grid.height + 18)
        }
        canvas.text(xLabel, x: left + grid.width / 2, y: top + grid.height + 36, color: SVGCanvas.faint)
        for (line, entry) in footer.enumerated() {
            let y = footerTop + Double(line) * 20 + 8
            canvas.text(entry.name, x: left - 10, y: y, anchor: .end, color: SVGCanvas.faint)
            for (column, text) in entry.texts.enumerated() {
                canvas.text(text, x: center(column, left), y: y, bold: line == 0)
            }
        }
        drawScale(&canvas, x: left + grid.width + 26, height: grid.height)
        return canvas.svg
    }

    private func center(_ column: Int, _ left: Double) -> Double { left + (Double(column) + 0.5) * Self.cell.width }

    private func drawCells(_ canvas: inout SVGCanvas, _ left: Double) {
        for (row, line) in values.enumerated() {
            for (column, value) in line.enumerated() {
                let x = left + Double(column) * Self.cell.width, y = top + Double(row) * Self.cell.height
                canvas.rect(
                    x: x, y: y, width: Self.cell.width, height: Self.cell.height,
                    fill: value.map(Self.color) ?? "url(#none)", stroke: "#ffffff")
                canvas.text(
                    value.map(Self.label) ?? missing, x: x + Self.cell.width / 2, y: y + Self.cell.height / 2 + 4.5,
                    color: value.map { $0 < 0.6 ? "#ffffff" : SVGCanvas.ink } ?? SVGCanvas.faint)
            }
        }
    }

    private func drawScale(_ canvas: inout SVGCanvas, x: Double, height: Double) {
        let height = max(height, 90), steps = 50
        for step in 0..<steps {
            let share = Double(step) / Double(steps - 1)
            canvas.rect(
                x: x, y: top + height * (1 - Double(step + 1) / Double(steps)), width: 14,
                height: height / Double(steps) + 0.6, fill: Self.color(share))
        }
        for share in [0, 0.5, 1] {
            canvas.text(
                Self.label(share), x: x + 20,
                y: top + height * (1 - share) + (share == 1 ? 9 : share == 0 ? 0 : 4),
                size: 11, anchor: .start, color: SVGCanvas.faint)
        }
        canvas.text(scale, x: x + 70, y: top + height / 2, size: 11, color: SVGCanvas.faint, vertical: true)
    }

    static func label(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

    /// Viridis: from dark violet through blue and green to yellow. Larger shares are lighter, also in gray and for
    /// color-blind readers.
    static func color(_ share: Double) -> String {
        let stops: [(Double, Double, Double)] = [
            (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140), (40, 174, 128), (94, 201, 98),
            (173, 220, 48), (253, 231, 37),
        ]
        let place = min(max(share.isFinite ? share : 0, 0), 1) * Double(stops.count - 1)
        let index = min(Int(place), stops.count - 2)
        let (a, b, t) = (stops[index], stops[index + 1], place - Double(index))
        func hex(_ a: Double, _ b: Double) -> String {
            let text = String(Int((a + (b - a) * t).rounded()), radix: 16)
            return text.count < 2 ? "0" + text : text
        }
        return "#" + hex(a.0, b.0) + hex(a.1, b.1) + hex(a.2, b.2)
    }
}
