import Glibc

/// Plots side by side, with the same series, the same logarithmic x axis, and one legend.
package struct LineChart {
    package struct Plot {
        var title: String
        var unit: String
        /// Whether the y axis is logarithmic; a linear axis begins at 0.
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
    /// Ticks of the x axis.
    var xTicks: [(value: Double, label: String)]
    var series: [Series]
    var plots: [Plot]

    package init(
        title: String, notes: [String], xLabel: String, xTicks: [(value: Double, label: String)], series: [Series],
        plots: [Plot]
    ) {
        (self.title, self.notes, self.xLabel, self.xTicks) = (title, notes, xLabel, xTicks)
        (self.series, self.plots) = (series, plots)
    }

    private static let plotSize = (width: 300.0, height: 220.0)
    private static let gap = 88.0
    private var top: Double { 86 + Double(notes.count) * 17 }

    package var svg: String {
        let left = 72.0
        let all = left + Double(plots.count) * (Self.plotSize.width + Self.gap) - Self.gap + 28
        let titles =
            max(SVGCanvas.width(title, size: 16), notes.map { SVGCanvas.width($0, size: 11.5) }.max() ?? 0) + 44
        let width = max(all, titles)
        let legend = legendRows(width: width - 48)
        let legendTop = top + Self.plotSize.height + 58
        var canvas = SVGCanvas(width: width, height: legendTop + Double(legend.count) * 20 + 12)
        canvas.text(title, x: 24, y: 30, size: 16, anchor: .start, bold: true)
        for (line, note) in notes.enumerated() {
            canvas.text(note, x: 24, y: 50 + Double(line) * 17, size: 11.5, anchor: .start, color: SVGCanvas.faint)
        }
        for (index, plot) in plots.enumerated() {
            draw(plot, &canvas, left: left + Double(index) * (Self.plotSize.width + Self.gap))
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

    private func draw(_ plot: Plot, _ canvas: inout SVGCanvas, left: Double) {
        let ys = plot.points.joined().map(\.y).filter { $0.isFinite && (!plot.logarithmic || $0 > 0) }
        let axis = Axis(values: ys, logarithmic: plot.logarithmic)
        let bottom = top + Self.plotSize.height
        let first = log2(xTicks.first?.value ?? 1), last = log2(xTicks.last?.value ?? 2)
        // A single tick is centered.
        let pad = last > first ? (last - first) * 0.04 : 1
        func place(_ x: Double, _ y: Double) -> (x: Double, y: Double) {
            let across = (log2(x) - first + pad) / (last - first + 2 * pad)
            return (left + across * Self.plotSize.width, bottom - axis.share(y) * Self.plotSize.height)
        }
        canvas.text("\(plot.title), \(plot.unit)", x: left, y: top - 14, size: 12.5, anchor: .start, bold: true)
        for tick in axis.ticks {
            let y = place(1, tick).y
            canvas.line((left, y), (left + Self.plotSize.width, y), SVGCanvas.grid)
            canvas.text(Axis.label(tick), x: left - 8, y: y + 4, size: 11, anchor: .end, color: SVGCanvas.faint)
        }
        for tick in xTicks {
            let x = place(tick.value, 1).x
            canvas.line((x, bottom), (x, bottom + 4), SVGCanvas.faint)
            canvas.text(tick.label, x: x, y: bottom + 18, size: 11, color: SVGCanvas.faint)
        }
        canvas.line((left, bottom), (left + Self.plotSize.width, bottom), SVGCanvas.faint)
        canvas.text(xLabel, x: left + Self.plotSize.width / 2, y: bottom + 36, size: 11, color: SVGCanvas.faint)
        for (series, points) in zip(series, plot.points) {
            let drawn = points.filter { $0.y.isFinite && (!plot.logarithmic || $0.y > 0) }
            if !drawn.isEmpty { canvas.path(drawn.map { place($0.x, $0.y) }, series.color, dashed: series.dashed) }
        }
    }
}

/// The y axis of a plot: its range and ticks.
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
            // Ticks at 1, 2 and 5 times powers of ten; at the powers alone if those are more than 8.
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

    /// The place of a value on the axis: 0 at the low end, 1 at the high end.
    func share(_ value: Double) -> Double {
        logarithmic ? log(value / low) / log(high / low) : value / high
    }

    /// Rounds up to 1, 2, 2.5 or 5 times a power of ten.
    private static func step(_ rough: Double) -> Double {
        let power = pow(10, log10(rough).rounded(.down))
        return ([1, 2, 2.5, 5, 10].first { $0 * power >= rough } ?? 10) * power
    }

    static func label(_ value: Double) -> String {
        let rounded = (value * 1e6).rounded() / 1e6
        return rounded == rounded.rounded() && abs(rounded) < 1e9 ? "\(Int(rounded))" : "\(rounded)"
    }
}
