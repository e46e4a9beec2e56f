/// The curves of training runs: the loss with its parts and the validation loss, and the learning rate beside them.
///
/// Of one run, each quantity has a color. Of several runs, each run has a color, and each part of the loss a plot.
package struct TrainingCurves {
    package struct Options: Sendable {
        /// How much of its last value a smoothed line keeps at each point, 0…1; with 0 the line is not smoothed.
        package var smoothing = 0.9
        /// Whether the axis of losses is logarithmic.
        package var hasLogarithmicLoss = false
        /// Whether the x axis has the seconds since the start instead of the steps.
        package var isOverSeconds = false
        package var title = "Training"

        package init() {}
    }

    /// The most points of a line that are drawn; more are averaged in groups.
    static let pointLimit = 1000

    private let logs: [LoggedRun]
    private let options: Options

    package init(_ logs: [LoggedRun], _ options: Options) { (self.logs, self.options) = (logs, options) }

    private typealias Points = [(x: Double, y: Double)]
    /// A line in one of the plots.
    private typealias Line = (series: LineChart.Series, plot: String, points: Points)

    package var svg: String {
        let lines = (logs.count == 1 ? linesOfOneRun(logs[0]) : linesOfRuns).filter { !$0.points.isEmpty }
        let titles = lines.map(\.plot).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        let xs = lines.flatMap { $0.points.map(\.x) }
        var chart = LineChart(
            title: options.title, notes: notes, xLabel: options.isOverSeconds ? "seconds" : "step",
            xTicks: Axis(values: xs, logarithmic: false).ticks.map { ($0, Axis.label($0)) },
            series: lines.map(\.series),
            plots: titles.map { title in
                LineChart.Plot(
                    title: title, unit: "",
                    logarithmic: options.hasLogarithmicLoss && title != Self.name(.learningRate),
                    points: lines.map { $0.plot == title ? $0.points : [] })
            })
        chart.hasLogarithmicX = false
        chart.plotSize = (width: 460, height: 300)
        return chart.svg
    }

    private var notes: [String] {
        let steps = logs.map { "\($0.name): \(plain($0.entries.last?.step ?? 0)) steps" }.joined(separator: ", ")
        let weight = "weight of the past \(plain(options.smoothing))"
        return options.smoothing > 0 ? [steps, "lines are smoothed, \(weight); pale: as recorded"] : [steps]
    }

    private static func name(_ quantity: LoggedRun.Quantity) -> String {
        switch quantity {
        case .crossEntropy: "cross-entropy"
        case .regularizer: "LCMR"
        case .ctc: "CTC"
        default: quantity.rawValue.replacing("_", with: " ")
        }
    }

    private static let parts: [LoggedRun.Quantity] = [.crossEntropy, .regularizer, .ctc]

    // MARK: Lines

    private func linesOfOneRun(_ log: LoggedRun) -> [Line] {
        var lines: [Line] = []
        for (quantity, color) in zip([.loss] + Self.parts, LineChart.colors) {
            lines += curve(log, quantity, name: Self.name(quantity), color: color, plot: Self.name(.loss))
        }
        let others = Array(LineChart.colors.dropFirst(1 + Self.parts.count))
        lines.append(validation(log, name: Self.name(.validationLoss), color: others[0]))
        lines.append(learningRate(log, name: Self.name(.learningRate), color: others[1]))
        return lines
    }

    private var linesOfRuns: [Line] {
        let colored = logs.enumerated().map { ($1, LineChart.colors[$0 % LineChart.colors.count]) }
        var lines: [Line] = []
        for (log, color) in colored {
            lines += curve(log, .loss, name: log.name, color: color, plot: Self.name(.loss))
            lines.append(validation(log, name: log.name + ", validation", color: color))
        }
        for part in Self.parts {
            for (log, color) in colored { lines += curve(log, part, name: "", color: color, plot: Self.name(part)) }
        }
        for (log, color) in colored { lines.append(learningRate(log, name: "", color: color)) }
        return lines
    }

    /// The recorded values of a quantity, pale, and the smoothed line over them.
    private func curve(
        _ log: LoggedRun, _ quantity: LoggedRun.Quantity, name: String, color: String, plot: String
    ) -> [Line] {
        let recorded = log.points(quantity, overSeconds: options.isOverSeconds)
        let smoothed = Self.smoothed(recorded, weight: options.smoothing)
        let line: Line = (.init(name: name, color: color, style: .line), plot, Self.thinned(smoothed))
        guard options.smoothing > 0 else { return [line] }
        return [(.init(name: "", color: color, style: .paleLine), plot, Self.thinned(recorded)), line]
    }

    private func validation(_ log: LoggedRun, name: String, color: String) -> Line {
        let points = log.points(.validationLoss, overSeconds: options.isOverSeconds)
        return (.init(name: name, color: color, style: .dots), Self.name(.loss), Self.thinned(points))
    }

    private func learningRate(_ log: LoggedRun, name: String, color: String) -> Line {
        let points = log.points(.learningRate, overSeconds: options.isOverSeconds)
        return (.init(name: name, color: color, style: .line), Self.name(.learningRate), Self.thinned(points))
    }

    // MARK: Arithmetic

    /// The exponential mean of the values so far: each value weighs `weight` times the one after it.
    static func smoothed(_ points: [(x: Double, y: Double)], weight: Double) -> [(x: Double, y: Double)] {
        var sum = 0.0, weights = 0.0
        return points.map { point in
            sum = weight * sum + point.y
            weights = weight * weights + 1
            return (point.x, sum / weights)
        }
    }

    /// At most `pointLimit` points: means of groups of neighbors of equal size.
    static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        guard points.count > pointLimit else { return points }
        let size = (points.count + pointLimit - 1) / pointLimit
        return stride(from: 0, to: points.count, by: size).map { first in
            let group = points[first..<min(first + size, points.count)], count = Double(group.count)
            return (group.reduce(0) { $0 + $1.x } / count, group.reduce(0) { $0 + $1.y } / count)
        }
    }
}
