import CKernels

/// One stage of a vocoder at work on one utterance: what its layers keep between pieces.
///
/// A layer makes every output column that its input allows and keeps the input columns which later ones need, so each
/// column is computed once, by the same operations whatever the pieces are.
final class VocoderStageStream {
    private let stage: Vocoder.Stage
    private let blocks: [VocoderBlockStream]
    /// Activated input columns for the transposed convolution.
    private(set) var input: ColumnTail
    private var received = 0
    private var emitted = 0
    /// Output columns at the true start that are still to be cut.
    private var cut: Int

    var channels: Int { stage.upsampling.outputs }

    init(_ stage: Vocoder.Stage) throws {
        self.stage = stage
        let upsampling = stage.upsampling
        input = try ColumnTail(channels: upsampling.inputs, capacity: upsampling.reach - 1, zeros: upsampling.reach - 1)
        cut = upsampling.padding
        let slowest = stage.lookahead
        blocks = try stage.blocks.map { try VocoderBlockStream($0, channels: upsampling.outputs, slowest: slowest) }
    }

    /// Takes the next `columns` activated input columns, which stand in `source` after the restored `input`.
    ///
    /// - Parameters:
    ///   - isLast: The signal ends with these columns.
    ///   - target: The activated mean of the blocks is written here from `targetColumn` on.
    /// - Returns: the columns written.
    func push(
        _ columns: Int, in source: Plane, isLast: Bool, planes: VocoderPlanes, slope: Float, to target: Plane,
        at targetColumn: Int
    ) throws -> Int {
        let first = try upsample(columns, in: source, isLast: isLast, planes: planes)
        var ready: [Int] = []
        for (block, out) in zip(blocks, planes.outputs) {
            ready.append(
                try block.push(first.count, at: first.lowerBound, isLast: isLast, planes: planes, to: out))
        }
        let count = ready.min() ?? 0
        average(count, planes: planes, slope: slope, to: target, at: targetColumn)
        for (index, block) in blocks.enumerated() {
            block.finished.keep(count..<ready[index], of: planes.outputs[index])
        }
        return count
    }

    /// - Returns: the columns of `planes.signal` that are new.
    private func upsample(_ columns: Int, in source: Plane, isLast: Bool, planes: VocoderPlanes) throws -> Range<Int> {
        let upsampling = stage.upsampling
        var groups = columns
        if isLast {
            let zeros = (upsampling.padding + upsampling.rate - 1) / upsampling.rate
            let end = input.count + columns
            source.clear(end..<end + zeros, rows: upsampling.inputs)
            groups += zeros
        }
        try upsampling(
            source.base, stride: source.stride, groups: groups, into: planes.signal.base,
            yStride: planes.signal.stride, scratch: planes.middle.base, scratchStride: planes.middle.stride)
        let end = input.count + groups
        input.keep(end - input.count..<end, of: source)
        received += columns
        let first = min(cut, groups * upsampling.rate)
        cut -= first
        let made = groups * upsampling.rate - first
        let count = isLast ? min(made, received * upsampling.rate - emitted) : made
        emitted += count
        return first..<first + count
    }

    private func average(_ columns: Int, planes: VocoderPlanes, slope: Float, to target: Plane, at targetColumn: Int) {
        for row in 0..<channels {
            let sum = target.at(targetColumn) + row * target.stride
            for (index, out) in planes.outputs.prefix(blocks.count).enumerated() {
                let values = out.base + row * out.stride
                if index == 0 { sum.update(from: values, count: columns) } else { lk_add(sum, values, columns) }
            }
            lk_scale(sum, columns, 1 / Float(blocks.count))
            lk_leaky_relu(sum, columns, slope)
        }
    }
}

/// One residual block at work on one utterance.
final class VocoderBlockStream {
    private let channels: Int
    private var pairs: [PairState]
    /// Columns that are done here, but not yet in a slower block of the stage.
    fileprivate var finished: ColumnTail

    private struct PairState {
        let pair: Vocoder.Stage.Pair
        /// Activated input of the first convolution, that of the second, and plain input waiting for its residual.
        var first: ColumnTail
        var second: ColumnTail
        var residual: ColumnTail
    }

    init(_ pairs: [Vocoder.Stage.Pair], channels: Int, slowest: Int) throws {
        self.channels = channels
        self.pairs = try pairs.map { pair in
            try PairState(
                pair: pair,
                first: ColumnTail(channels: channels, capacity: pair.first.span, zeros: pair.first.padding),
                second: ColumnTail(channels: channels, capacity: pair.second.span, zeros: pair.second.padding),
                residual: ColumnTail(channels: channels, capacity: pair.lookahead))
        }
        finished = try ColumnTail(channels: channels, capacity: slowest - pairs.reduce(0) { $0 + $1.lookahead })
    }

    /// Takes `columns` columns of `planes.signal` from `start` on.
    ///
    /// - Returns: the columns that now stand in `target`, those kept in `finished` first.
    func push(_ columns: Int, at start: Int, isLast: Bool, planes: VocoderPlanes, to target: Plane) throws -> Int {
        finished.restore(to: target)
        guard var entry = pairs.first else { return finished.count }
        var (plain, next) = (planes.plain, planes.nextPlain)
        entry.first.restore(to: planes.activated)
        entry.residual.restore(to: plain)
        copy(columns, from: start, of: planes, plain: plain, entry)
        var count = columns
        for index in pairs.indices {
            let isEnd = index + 1 == pairs.count
            let following = isEnd ? nil : pairs[index + 1]
            let middle = try first(index, count, isLast: isLast, planes: planes)
            following?.first.restore(to: planes.activated)
            following?.residual.restore(to: next)
            let made = try second(
                index, middle, plain: plain, isLast: isLast, planes: planes,
                to: isEnd ? target.at(finished.count) : next.at(following?.residual.count ?? 0),
                stride: isEnd ? target.stride : next.stride,
                activated: following.map { planes.activated.at($0.first.count) })
            let waiting = pairs[index].residual.count + count
            pairs[index].residual.keep(made..<max(made, waiting), of: plain)
            count = made
            swap(&plain, &next)
            if let following { entry = following }
        }
        return finished.count + count
    }

    private func copy(_ columns: Int, from start: Int, of planes: VocoderPlanes, plain: Plane, _ entry: PairState) {
        for row in 0..<channels {
            let values = planes.signal.at(start) + row * planes.signal.stride
            (plain.at(entry.residual.count) + row * plain.stride).update(from: values, count: columns)
            let activated = planes.activated.at(entry.first.count) + row * planes.activated.stride
            activated.update(from: values, count: columns)
            lk_leaky_relu(activated, columns, Vocoder.slope)
        }
    }

    /// First convolution of a pair, activated into `planes.middle` behind what the second kept.
    private func first(_ index: Int, _ columns: Int, isLast: Bool, planes: VocoderPlanes) throws -> Int {
        let convolution = pairs[index].pair.first
        let (available, made) = extent(pairs[index].first, columns, convolution, isLast, planes.activated)
        pairs[index].second.restore(to: planes.middle)
        try convolution(
            planes.activated.base, stride: planes.activated.stride, columns: made,
            into: lk_conv1d_output(
                activated: planes.middle.at(pairs[index].second.count), stride: planes.middle.stride,
                slope: Vocoder.slope))
        pairs[index].first.keep(made..<available, of: planes.activated)
        return made
    }

    /// Second convolution of a pair plus the residual, to `y` and activated to `activated`.
    private func second(
        _ index: Int, _ columns: Int, plain: Plane, isLast: Bool, planes: VocoderPlanes,
        to y: UnsafeMutablePointer<Float>, stride: Int, activated: UnsafeMutablePointer<Float>?
    ) throws -> Int {
        let convolution = pairs[index].pair.second
        let (available, made) = extent(pairs[index].second, columns, convolution, isLast, planes.middle)
        try convolution(
            planes.middle.base, stride: planes.middle.stride, columns: made,
            into: lk_conv1d_output(
                add: plain.base, ld_add: plain.stride, y: y, ldy: stride, activated: activated,
                ld_activated: planes.activated.stride, slope: Vocoder.slope))
        pairs[index].second.keep(made..<available, of: planes.middle)
        return made
    }

    /// Columns of input there are, zeros behind the last ones included, and of output that they allow.
    private func extent(
        _ tail: ColumnTail, _ columns: Int, _ convolution: VocoderConvolution, _ isLast: Bool, _ plane: Plane
    ) -> (available: Int, made: Int) {
        var available = tail.count + columns
        if isLast {
            plane.clear(available..<available + convolution.padding, rows: channels)
            available += convolution.padding
        }
        return (available, max(0, available - convolution.span))
    }
}
