import Glibc

/// Plots side by side, with the same series, the same x axis, and one legend.
package struct LineChart {
    package struct Plot {
        var title: String
        var unit: String
        /// Whether the y axis is logarithmic; a linear axis begins at 0, or below if there are negative values.
        var logarithmic: Bool
        /// [series][points]
        var points: [[(x: Double, y: Double)]]

        package init(title: String, unit: String, logarithmic: Bool, points: [[(x: Double, y: Double)]]) {
            (self.title, self.unit, self.logarithmic, self.points) = (title, unit, logarithmic, points)
        }
    }

    package struct Series {
        package enum Style {
            /// A line with a dot at each point.
            case dottedLine
            case dashedLine
            /// A line alone, for many points.
            case line
            /// A thin, pale line behind the others.
            case paleLine
            case dots
        }

        /// Empty for a series that the legend leaves out.
        var name: String
        var color: String
        var style: Style

        package init(name: String, color: String, style: Style = .dottedLine) {
            (self.name, self.color, self.style) = (name, color, style)
        }

        package init(name: String, color: String, dashed: Bool) {
            self.init(name: name, color: color, style: dashed ? .dashedLine : .dottedLine)
        }
    }

    package static let colors = ["#1f2430", "#1b6fc2", "#d9622b", "#2b9a5b", "#8b4fb8", "#b8862b", "#c23b6f"]

    var title: String
    /// Lines below the title.
    var notes: [String]
    var xLabel: String
    /// Whether the x axis is logarithmic. It runs from the first tick to the last.
    package var hasLogarithmicX = true
    /// Size of a plot in pixels.
    package var plotSize = (width: 300.0, height: 220.0)
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

    private static let gap = 88.0
    private var top: Double { 86 + Double(notes.count) * 17 }

    package var svg: String {
        let left = 72.0
        let all = left + Double(plots.count) * (plotSize.width + Self.gap) - Self.gap + 28
        let titles =
            max(SVGCanvas.width(title, size: 16), notes.map { SVGCanvas.width($0, size: 11.5) }.max() ?? 0) + 44
        let width = max(all, titles)
        let legend = legendRows(width: width - 48)
        let legendTop = top + plotSize.height + 58
        var canvas = SVGCanvas(width: width, height: legendTop + Double(legend.count) * 20 + 12)
        canvas.text(title, x: 24, y: 30, size: 16, anchor: .start, bold: true)
        for (line, note) in notes.enumerated() {
            canvas.text(note, x: 24, y: 50 + Double(line) * 17, size: 11.5, anchor: .start, color: SVGCanvas.faint)
        }
        for (index, plot) in plots.enumerated() {
            draw(plot, &canvas, left: left + Double(index) * (plotSize.width + Self.gap))
        }
        for (row, entries) in legend.enumerated() {
            var x = 24.0
            let y = legendTop + Double(row) * 20
            for entry in entries {
                Self.draw([(x, y), (x + 26, y)], entry, &canvas)
                canvas.text(entry.name, x: x + 34, y: y + 4, anchor: .start)
                x += Self.legendWidth(entry)
            }
        }
        return canvas.svg
    }

    private static func legendWidth(_ entry: Series) -> Double { 34 + SVGCanvas.width(entry.name, size: 12) + 26 }

    private func legendRows(width: Double) -> [[Series]] {
        var rows: [[Series]] = [[]], used = 0.0
        for entry in series where !entry.name.isEmpty {
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
        let bottom = top + plotSize.height
        func across(_ x: Double) -> Double { hasLogarithmicX ? log2(x) : x }
        let first = across(xTicks.first?.value ?? 1), last = across(xTicks.last?.value ?? 2)
        // A single tick is centered.
        let pad = last > first ? (last - first) * 0.04 : 1
        func place(_ x: Double, _ y: Double) -> (x: Double, y: Double) {
            let share = (across(x) - first + pad) / (last - first + 2 * pad)
            return (left + share * plotSize.width, bottom - axis.share(y) * plotSize.height)
        }
        let title = plot.unit.isEmpty ? plot.title : "\(plot.title), \(plot.unit)"
        canvas.text(title, x: left, y: top - 14, size: 12.5, anchor: .start, bold: true)
        for tick in axis.ticks {
            let y = bottom - axis.share(tick) * plotSize.height
            canvas.line((left, y), (left + plotSize.width, y), SVGCanvas.grid)
            canvas.text(Axis.label(tick), x: left - 8, y: y + 4, size: 11, anchor: .end, color: SVGCanvas.faint)
        }
        for tick in xTicks {
            let x = place(tick.value, tick.value).x
            canvas.line((x, bottom), (x, bottom + 4), SVGCanvas.faint)
            canvas.text(tick.label, x: x, y: bottom + 18, size: 11, color: SVGCanvas.faint)
        }
        canvas.line((left, bottom), (left + plotSize.width, bottom), SVGCanvas.faint)
        canvas.text(xLabel, x: left + plotSize.width / 2, y: bottom + 36, size: 11, color: SVGCanvas.faint)
        for (series, points) in zip(series, plot.points) {
            let drawn = points.filter { $0.y.isFinite && (!plot.logarithmic || $0.y > 0) }
            if !drawn.isEmpty { Self.draw(drawn.map { place($0.x, $0.y) }, series, &canvas) }
        }
    }

    private static func draw(_ points: [(x: Double, y: Double)], _ series: Series, _ canvas: inout SVGCanvas) {
        switch series.style {
        case .dottedLine, .dashedLine: canvas.path(points, series.color, dashed: series.style == .dashedLine)
        case .line: canvas.line(through: points, series.color, width: 1.8)
        case .paleLine: canvas.line(through: points, series.color, width: 1, opacity: 0.3)
        case .dots: for point in points { canvas.dot(point, series.color, hollow: true) }
        }
    }
}

/// The axis of a plot: its range and ticks.
struct Axis {
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
            let smallest = min(values.min() ?? 0, 0)
            let step = Axis.step((largest - smallest) / 4.5)
            // 2e-5 / 5e-6 is a little more than 4.
            let rounding = 1e-9
            low = (smallest / step + rounding).rounded(.down) * step
            high = (largest / step - rounding).rounded(.up) * step
            ticks = stride(from: low, through: high + step * 0.001, by: step).map { $0 }
        }
    }

    /// The place of a value on the axis: 0 at the low end, 1 at the high end.
    func share(_ value: Double) -> Double {
        logarithmic ? log(value / low) / log(high / low) : (value - low) / (high - low)
    }

    /// Rounds up to 1, 2, 2.5 or 5 times a power of ten.
    private static func step(_ rough: Double) -> Double {
        let power = pow(10, log10(rough).rounded(.down))
        return ([1, 2, 2.5, 5, 10].first { $0 * power >= rough } ?? 10) * power
    }

    /// Rounds to four significant digits, so that 0.1 + 0.2 is 0.3.
    static func label(_ value: Double) -> String {
        guard value.isFinite, value != 0 else { return "0" }
        let scale = pow(10, 3 - log10(abs(value)).rounded(.down))
        let rounded = scale.isFinite && scale > 0 ? (value * scale).rounded() / scale : value
        return rounded == rounded.rounded() && abs(rounded) < 1e9 ? "\(Int(rounded))" : "\(rounded)"
    }
}
