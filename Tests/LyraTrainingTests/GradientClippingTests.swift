import CKernels
import Foundation
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

@Suite(.serialized) struct GradientClippingTests {
    @Test(arguments: [0, 1, 5, 16, 33, 32_768, 32_769, 100_000]) func theSquareSumIsExact(_ count: Int) throws {
        let gradient = try normal([count], seed: count)
        let want = gradient.values.reduce(0.0) { $0 + Double($1) * Double($1) }
        try onEachISA { isa in
            // Sums in double precision, in another order.
            let got = try GradientClipping.squareSum(gradient)
            #expect(abs(got - want) <= 1e-12 * want, "\(isa)")
        }
    }

    /// More than 256 pieces: then a thread takes several at a time.
    @Test func theSquareSumOfManyIsExact() throws {
        let count = 300 * 32_768 + 77
        let ones = try Tensor([count]) { $0.update(repeating: 1, count: count) }
        #expect(try GradientClipping.squareSum(ones) == Double(count))
    }

    @Test func theNormIsThatOfAllTogether() throws {
        let gradients = [try Tensor([2], [3, 0]), try Tensor([1, 1], [4]), try Tensor(zeros: [0])]
        #expect(try GradientClipping.norm(gradients) == 5)
        #expect(try GradientClipping.norm([]) == 0)
        let view = try Tensor([2, 3], [3, 9, 9, 4, 9, 9]).columns(0..<1)
        #expect(try GradientClipping.norm([view]) == 5)
    }

    @Test func theFactorBringsTheNormToItsLimit() throws {
        #expect(GradientClipping.factor(norm: 0.5, limit: 1) == 1)
        #expect(GradientClipping.factor(norm: 0, limit: 1) == 1)
        #expect(abs(try #require(GradientClipping.factor(norm: 8, limit: 2)) - 0.25) < 1e-7)
        #expect(GradientClipping.factor(norm: .nan, limit: 1) == nil)
        #expect(GradientClipping.factor(norm: .infinity, limit: 1) == nil)
        let bad = try GradientClipping.norm([Tensor([2], [1, .nan])])
        #expect(bad.isNaN)
    }
}
