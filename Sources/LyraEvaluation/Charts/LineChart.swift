import Glibc

/// Panels side by side with the same series over the same x, which is logarithmic, and one legend.
package struct LineChart {
    package struct Panel {
        var title: String
        var unit: String
        /// Whether y is logarithmic too; else it begins at 0.
        var logarithmic: Bool
        /// [series][points]
        var points: [[(x: Double, y: Double)]]

        package init(title: String, unit: String, logarithmic: Bool, points: [[(x: Double, y: Double)]]) {
            (self.title, self.unit, self.logarithmic, self.points) = (title, unit, logarithmic, points)
        }
    }

    package struct Series {
        var name: String
        var color: String
        var dashed: Bool

        package init(name: String, color: String, dashed: Bool = false) {
            (self.name, self.color, self.dashed) = (name, color, dashed)
        }
    }

    package static let colors = ["#1f2430", "#1b6fc2", "#d9622b", "#2b9a5b", "#8b4fb8", "#b8862b", "#c23b6f"]

    var title: String
    /// Lines below the title.
    var notes: [String]
    var xLabel: String
    /// Places on the x axis, with what is written there.
    var xTicks: [(value: Double, label: String)]
    var series: [Series]
    var panels: [Panel]

    package init(
        title: String, notes: [String], xLabel: String, xTicks: [(value: Double, label: String)], series: [Series],
        panels: [Panel]
    ) {
        (self.title, self.notes, self.xLabel, self.xTicks) = (title, notes, xLabel, xTicks)
        (self.series, self.panels) = (series, panels)
    }

    private static let plot = (width: 300.0, height: 220.0)
    private static let gap = 88.0
    private var top: Double { 86 + Double(notes.count) * 17 }

    package var svg: String {
        let left = 72.0
        let all = left + Double(panels.count) * (Self.plot.width + Self.gap) - Self.gap + 28
        let titles =
            max(SVGCanvas.width(title, size: 16), notes.map { SVGCanvas.width($0, size: 11.5) }.max() ?? 0) + 44
        let width = max(all, titles)
        let legend = legendRows(width: width - 48)
        let legendTop = top + Self.plot.height + 58
        var canvas = SVGCanvas(width: width, height: legendTop + Double(legend.count) * 20 + 12)
        canvas.text(title, x: 24, y: 30, size: 16, anchor: .start, bold: true)
        for (line, note) in notes.enumerated() {
            canvas.text(note, x: 24, y: 50 + Double(line) * 17, size: 11.5, anchor: .start, color: SVGCanvas.faint)
        }
        for (index, panel) in panels.enumerated() {
            draw(panel, &canvas, left: left + Double(index) * (Self.plot.width + Self.gap))
        }
        for (row, entries) in legend.enumerated() {
            var x = 24.0
            let y = legendTop + Double(row) * 20
            for entry in entries {
                canvas.path([(x, y), (x + 26, y)], entry.color, dashed: entry.dashed)
                canvas.text(entry.name, x: x + 34, y: y + 4, anchor: .start)
                x += Self.legendWidth(entry)
            }
        }
        return canvas.svg
    }

    private static func legendWidth(_ entry: Series) -> Double { 34 + SVGCanvas.width(entry.name, size: 12) + 26 }

    private func legendRows(width: Double) -> [[Series]] {
        var rows: [[Series]] = [[]], used = 0.0
        for entry in series {
            let needed = Self.legendWidth(entry)
            if used + needed > width, !rows[rows.count - 1].isEmpty {
                rows.append([])
                used = 0
            }
            rows[rows.count - 1].append(entry)
            used += needed
        }
        return rows
    }

    private func draw(_ panel: Panel, _ canvas: inout SVGCanvas, left: Double) {
        let ys = panel.points.joined().map(\.y).filter { $0.isFinite && (!panel.logarithmic || $0 > 0) }
        let axis = Axis(values: ys, logarithmic: panel.logarithmic)
        let bottom = top + Self.plot.height
        let first = log2(xTicks.first?.value ?? 1), last = log2(xTicks.last?.value ?? 2)
        // A single length stands in the middle.
        let pad = last > first ? (last - first) * 0.04 : 1
        func place(_ x: Double, _ y: Double) -> (x: Double, y: Double) {
            let across = (log2(x) - first + pad) / (last - first + 2 * pad)
            return (left + across * Self.plot.width, bottom - axis.share(y) * Self.plot.height)
        }
        canvas.text("\(panel.title), \(panel.unit)", x: left, y: top - 14, size: 12.5, anchor: .start, bold: true)
        for tick in axis.ticks {
            let y = place(1, tick).y
            canvas.line((left, y), (left + Self.plot.width, y), SVGCanvas.grid)
            canvas.text(Axis.label(tick), x: left - 8, y: y + 4, size: 11, anchor: .end, color: SVGCanvas.faint)
        }
        for tick in xTicks {
            let x = place(tick.value, 1).x
            canvas.line((x, bottom), (x, bottom + 4), SVGCanvas.faint)
            canvas.text(tick.label, x: x, y: bottom + 18, size: 11, color: SVGCanvas.faint)
        }
        canvas.line((left, bottom), (left + Self.plot.width, bottom), SVGCanvas.faint)
        canvas.text(xLabel, x: left + Self.plot.width / 2, y: bottom + 36, size: 11, color: SVGCanvas.faint)
        for (series, points) in zip(series, panel.points) {
            let drawn = points.filter { $0.y.isFinite && (!panel.logarithmic || $0.y > 0) }
            if !drawn.isEmpty { canvas.path(drawn.map { place($0.x, $0.y) }, series.color, dashed: series.dashed) }
        }
    }
}

/// Where values stand between the ends of an axis, and which of them are written at it.
private struct Axis {
    private(set) var ticks: [Double] = []
    private let low: Double
    private let high: Double
    private let logarithmic: Bool

    init(values: [Double], logarithmic: Bool) {
        self.logarithmic = logarithmic
        let largest = values.max().flatMap { $0 > 0 ? $0 : nil } ?? 1
        if logarithmic {
            let smallest = values.min() ?? 1
            // 1, 2 and 5 times powers of ten around the values; only powers when there are many.
            let all = (-9...9).flatMap { power in [1.0, 2, 5].map { $0 * pow(10, Double(power)) } }
            low = all.last { $0 <= smallest } ?? smallest
            high = max(all.first { $0 >= largest } ?? largest, low * 2)
            let inside = all.filter { $0 >= low * 0.999 && $0 <= high * 1.001 }
            ticks = inside.count <= 8 ? inside : inside.filter { log10($0) == log10($0).rounded() }
        } else {
            let step = Axis.step(largest / 4.5)
            low = 0
            high = (largest / step).rounded(.up) * step
            ticks = stride(from: 0, through: high * 1.001, by: step).map { $0 }
        }
    }

    /// 0 at the low end, 1 at the high one.
    func share(_ value: Double) -> Double {
        logarithmic ? log(value / low) / log(high / low) : value / high
    }

    /// The nearest of 1, 2, 2.5 and 5 times a power of ten from above.
    private static func step(_ rough: Double) -> Double {
        let power = pow(10, log10(rough).rounded(.down))
        return ([1, 2, 2.5, 5, 10].first { $0 * power >= rough } ?? 10) * power
    }

    static func label(_ value: Double) -> String {
        let rounded = (value * 1e6).rounded() / 1e6
        return rounded == rounded.rounded() && abs(rounded) < 1e9 ? "\(Int(rounded))" : "\(rounded)"
    }
}
