import Foundation
import LyraBase
import Synchronization
import Testing

@testable import LyraMedia

@Suite(.serialized) struct BackgroundWorkTests {
    private struct Failure: Error {}

    /// Held by the work; signals when it is freed.
    private final class Held: Sendable {
        let freed: DispatchSemaphore
        init(_ freed: DispatchSemaphore) { self.freed = freed }
        deinit { freed.signal() }
    }

    @Test func aResultAndAnErrorComeBack() throws {
        let here = pthread_self()
        let there = try BackgroundWork.run(name: "a", interrupted: { false }) { _ in pthread_self() }
        #expect(there != here)
        #expect(throws: Failure.self) {
            try BackgroundWork.run(name: "a", interrupted: { false }) { _ in throw Failure() }
        }
    }

    /// The work ends only after the call, so the test would hang if the call waited for the work.
    @Test func anInterruptedCallDoesNotWaitForTheWork() throws {
        let (mayEnd, freed) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        var held: Held? = Held(freed)
        let wasUnwanted = Mutex(false)
        var polls = 0
        let interrupted = {
            polls += 1
            return polls > 3
        }
        let error = try lyraError { [work = held] in
            try BackgroundWork.run(name: "a.png", interrupted: interrupted) { isUnwanted in
                mayEnd.wait()
                wasUnwanted.withLock { $0 = isUnwanted() }
                withExtendedLifetime(work) {}
            }
        }
        held = nil
        #expect(error == LyraError(.state, "a.png: interrupted"))
        #expect(polls == 4)
        mayEnd.signal()
        freed.wait()
        #expect(wasUnwanted.withLock { $0 })
    }

    @Test func atMostFourAbandonedTasksRun() throws {
        let mayEnd = DispatchSemaphore(value: 0)
        for _ in 0..<BackgroundWork.maxAbandoned {
            var polls = 0
            _ = try lyraError {
                try BackgroundWork.run(
                    name: "a",
                    interrupted: {
                        polls += 1
                        return polls > 2
                    }
                ) { _ in mayEnd.wait() }
            }
        }
        // The fifth waits until one of them ends, and can be interrupted while it waits.
        let began = Atomic<Bool>(false)
        var polls = 0
        let error = try lyraError {
            try BackgroundWork.run(
                name: "fifth",
                interrupted: {
                    polls += 1
                    return polls > 2
                }
            ) { _ in began.store(true, ordering: .relaxed) }
        }
        #expect(error?.code == .state && !began.load(ordering: .relaxed))
        for _ in 0..<BackgroundWork.maxAbandoned { mayEnd.signal() }
        #expect(try BackgroundWork.run(name: "sixth", interrupted: { false }) { _ in 6 } == 6)
    }

    /// Preparing and turning a large image check for interruption often, and end when they are interrupted.
    @Test func aLargeImageCanBeInterruptedInEveryStage() throws {
        let picture = try RGBImage(width: 4000, height: 3000) { $0.update(repeating: 90, count: 4000 * 3000 * 3) }
        func polls(_ body: (() -> Bool) throws -> Void) rethrows -> Int {
            var count = 0
            try body {
                count += 1
                return false
            }
            return count
        }
        #expect(try polls { _ = try ImagePreparation().prepare(picture, interrupted: $0) } > 100)
        let turned = try polls { interrupted in
            _ = try picture.withPixels {
                try Orientation(exif: 6).upright(
                    $0, width: 4000, height: 3000, stride: 12_000, interrupted: interrupted)
            }
        }
        #expect(turned > 50)
        var count = 0
        let error = try lyraError {
            _ = try ImagePreparation().prepare(picture) {
                count += 1
                return count > 70
            }
        }
        #expect(error?.code == .state && count == 71)
    }
}

@Suite struct MediaLimitsTests {
    private static let ends = [Int.max, Int.max - 1, Int.min, Int.min + 1, 0, -1]

    private func bitmap() -> [UInt8] {
        // 1 × 1 pixel of 24 bits, blue first.
        [0x42, 0x4d, 58, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 24, 0]
            + [UInt8](repeating: 0, count: 24) + [30, 20, 10, 0]
    }

    /// Every whole-number field of the limits, one at a time.
    private static let fields: [WritableKeyPath<MediaLimits, Int> & Sendable] = [
        \.imagePixels, \.imageBytes, \.videoPixels, \.videoFrames, \.tracks, \.packetBytes, \.threads,
    ]

    @Test(arguments: ends) func noLimitOverflows(value: Int) throws {
        let maker = try MediaMaker()
        try maker.ffmpeg("-f lavfi -i testsrc2=s=32x32:d=0.2 -c:v libx264 a.mp4")
        try maker.ffmpeg("-f lavfi -i testsrc2=s=32x32 -frames:v 1 a.png")
        try maker.ffmpeg("-f lavfi -i testsrc2=s=32x32 -frames:v 1 a.tif")
        for field in Self.fields {
            var limits = MediaLimits()
            limits[keyPath: field] = value
            // Success or an error: it must only not trap.
            for name in ["a.png", "a.tif"] {
                let error = try lyraError { _ = try ImageDecoder.decode(path: maker.path(name), limits: limits) }
                if value > 0 { #expect(error == nil) }
            }
            _ = try lyraError {
                let video = try scanned(VideoDecoder(path: maker.path("a.mp4"), limits: limits))
                _ = try frames([0], of: video)
            }
        }
        var limits = MediaLimits()
        limits.imagePixels = value
        let image = try lyraError { _ = try ImageDecoder.decode(bytes: bitmap(), limits: limits) }
        #expect(image?.code == (value > 0 ? nil : .memory))
    }

    @Test(arguments: ends) func noPreparationParameterOverflows(value: Int) throws {
        let picture = try RGBImage(width: 30, height: 30) { $0.update(repeating: 1, count: 2700) }
        let fields: [WritableKeyPath<ImageConfiguration, Int>] = [
            \.patch, \.temporalPatch, \.merge, \.minPixels, \.maxPixels,
        ]
        for field in fields {
            var configuration = ImageConfiguration()
            configuration[keyPath: field] = value
            let preparation = ImagePreparation(configuration)
            for limit in Self.ends {
                let error = try lyraError { _ = try preparation.limited(toPixels: limit).prepare(picture) }
                // The limit replaces an invalid maximum.
                if field == \ImageConfiguration.maxPixels, error == nil { continue }
                #expect(error?.code == .format)
            }
            let size = PixelSize(width: 30, height: 30)
            #expect(try lyraError { _ = try VideoFrames(preparation, frameSize: size, frames: 1) }?.code == .format)
        }
        #expect(try ImagePreparation().limited(toPixels: value).prepare(picture).grid.time == 1)
        let size = PixelSize(width: value, height: value)
        #expect(try lyraError { _ = try VideoFrames(ImagePreparation(), frameSize: size, frames: 1) } != nil)
    }

    @Test(arguments: ends) func noSamplingParameterOverflows(value: Int) throws {
        #expect(try lyraError { _ = try VideoSampling(maxFrames: value) }?.code == .argument)
        let sampling = try VideoSampling()
        for rate in [0, -1, .nan, .infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude] {
            let indices = sampling.indices(frameCount: value, frameRate: rate)
            #expect(indices.allSatisfy { $0 >= 0 && $0 < value })
        }
    }
}
