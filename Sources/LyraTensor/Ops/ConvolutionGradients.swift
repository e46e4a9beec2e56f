import CKernels
import LyraBase

/// What the gradient of a convolution needs.
struct ConvolutionRecord {
    let convolution: Convolution1D
    let x: Tensor
    let residual: GradientNode?

    var operands: [GradientNode] {
        [x.node, residual, convolution.weightNode, convolution.biasNode].compactMap(\.self)
    }

    /// y[o, t] = bias[o] + Σ w[o, i, j] · x[i, t + j · dilation] + residual[o, t]:
    ///
    ///     dx[i, t + j · dilation] += Σ_o w[o, i, j] · dy[o, t],  dw[o, i, j] = Σ_t dy[o, t] · x[i, t + j · dilation]
    ///     dbias[o] = Σ_t dy[o, t],  dresidual = dy
    func propagate(_ dy: Tensor) throws {
        let (inputs, outputs) = (convolution.inputs, convolution.outputs)
        try residual?.add(dy, columns: 0..<dy.columns)
        if let node = x.node {
            let taps = try convolution.taps()
            try node.accumulate { try convolution.addInputGradient(dy, to: $0, columns: node.columns, taps: taps) }
        }
        if let node = convolution.weightNode {
            let taps = try Tensor([convolution.kernel, outputs * inputs]) {
                try convolution.weightGradient(dy, x, to: $0, byInputs: false)
            }
            try node.accumulate { sum in
                try taps.withValues { lk_conv1d_add_taps(sum, $0, outputs * inputs, convolution.kernel) }
            }
        }
        try convolution.biasNode?.addRowSums(of: dy)
    }
}

/// What the gradient of a transposed convolution needs.
struct TransposedConvolutionRecord {
    let convolution: TransposedConvolution1D
    let x: Tensor

    var operands: [GradientNode] { [x.node, convolution.weightNode, convolution.biasNode].compactMap(\.self) }

    /// Each phase p, the output columns p, p + rate, …, is a convolution of its own, with the taps k of the kernel for
    /// which k mod rate = p, in reverse order. So the gradient is that of the phases' convolutions; weight: [inputs,
    /// outputs, kernel].
    func propagate(_ dy: Tensor) throws {
        let (inputs, outputs, rate) = (convolution.inputs, convolution.outputs, convolution.rate)
        let groups = dy.columns / rate
        var weightTaps = try convolution.weightNode.map { _ in
            try Tensor(zeros: [convolution.kernel, inputs * outputs])
        }
        for (phase, part) in convolution.phases.enumerated() {
            let own = try Tensor([outputs, groups]) { own in
                dy.withMatrix { lk_collect(own, groups, $0 + phase, $1, rate, outputs, groups) }
            }
            let range = convolution.inputColumns(of: part, groups: groups)
            if let node = x.node {
                let taps = try part.taps()
                try node.accumulate {
                    try part.addInputGradient(own, to: $0 + range.lowerBound, columns: node.columns, taps: taps)
                }
            }
            guard weightTaps != nil else { continue }
            let matrices = try Tensor([part.kernel, inputs * outputs]) {
                try part.weightGradient(own, x.detached.columns(range), to: $0, byInputs: true)
            }
            for tap in 0..<part.kernel {
                try weightTaps?.replace(
                    rowsFrom: phase + (part.kernel - 1 - tap) * rate, with: matrices.rows(tap..<tap + 1))
            }
        }
        if let node = convolution.weightNode, let weightTaps {
            try node.accumulate { sum in
                try weightTaps.withValues { lk_conv1d_add_taps(sum, $0, inputs * outputs, convolution.kernel) }
            }
        }
        try convolution.biasNode?.addRowSums(of: dy)
    }
}

extension Convolution1D {
    /// The weights, one matrix [outputs, inputs] for each tap.
    fileprivate func taps() throws -> Tensor {
        let weights = try Tensor([outputs, inputs, kernel]) {
            lk_conv1d_unpack($0, packed.base, inputs, outputs, kernel, precision == .fast ? 1 : 0)
        }
        withExtendedLifetime(packed) {}
        return try Tensor([kernel, outputs * inputs]) { taps in
            try weights.withValues { lk_conv1d_taps(taps, $0, outputs * inputs, kernel) }
        }
    }

    /// - Parameters:
    ///   - dx: [inputs, columns of dy + span], rows `columns` floats apart
    ///   - taps: [kernel, outputs, inputs]
    fileprivate func addInputGradient(
        _ dy: Tensor, to dx: UnsafeMutablePointer<Float>, columns: Int, taps: Tensor
    ) throws {
        let status = try taps.withValues { taps in
            dy.withMatrix {
                var gradient = kernelGradient($0, $1, columns: dy.columns)
                return lk_conv1d_input_gradient(dx, columns, &gradient, taps)
            }
        }
        try checkKernel(status, "the gradient of a convolution")
    }

    /// - Parameters:
    ///   - x: [inputs, columns of dy + span]
    ///   - taps: receives a matrix [outputs, inputs] for each tap, or [inputs, outputs] if `byInputs`
    fileprivate func weightGradient(
        _ dy: Tensor, _ x: Tensor, to taps: UnsafeMutablePointer<Float>, byInputs: Bool
    ) throws {
        let status = x.withMatrix { x, stride in
            dy.withMatrix {
                var gradient = kernelGradient($0, $1, columns: dy.columns)
                return lk_conv1d_weight_gradient(taps, &gradient, x, stride, byInputs ? 1 : 0)
            }
        }
        try checkKernel(status, "the gradient of a convolution")
    }

    private func kernelGradient(_ dy: UnsafePointer<Float>, _ stride: Int, columns: Int) -> lk_conv1d_gradient {
        lk_conv1d_gradient(
            dy: dy, ld_dy: stride, columns: columns, in_channels: inputs, out_channels: outputs, kernel: kernel,
            dilation: dilation)
    }
}

extension GradientNode {
    fileprivate func addRowSums(of dy: Tensor) throws {
        try accumulate { sum in dy.withMatrix { lk_add_row_sums(sum, $0, $1, dy.rows, dy.columns) } }
    }
}
