import LyraBase
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// Tensors of types that only some files have.
@Suite struct StoredTypesTests {
    private func table(_ tensors: (name: String, type: ElementType, typeName: String)...) -> TensorTable {
        let all = tensors.map { name, type, typeName in
            (name, StoredTensor(type, [2, 2], [0x38, 0x40, 0xB8, 0x30], name: name, typeName: typeName))
        }
        return TensorTable(origin: "m", tensors: Dictionary(uniqueKeysWithValues: all))
    }

    @Test func floatsOf8BitsAreDequantized() throws {
        let table = table(("x.weight", .float8E4M3, "F8_E4M3"))
        #expect(try table.floats("x.weight", [2, 2]).values == [1, 2, -1, 0.5])
        let weight = try table.under("x.").weight("weight", [2, 2])
        #expect(weight.outputs == 2 && weight.inputs == 2)
    }

    @Test(arguments: [
        "x.weight_scale", "x.weight_scale_inv", "x.scale_weight", "x.scale_inv", "x.scale", "x.input_scale",
        "x.weight_scale_2",
    ]) func floatsOf8BitsWithAScaleAreRefused(_ scale: String) {
        let table = table(("x.weight", .float8E4M3, "F8_E4M3"), (scale, .float32, "F32"))
        for read in [
            { _ = try table.weight("x.weight", [2, 2]) }, { _ = try table.floats("x.weight", [2, 2]) },
            { _ = try table.under("x.").weight("weight", [2, 2]) },
        ] as [() throws -> Void] {
            let error = #expect(throws: LyraError.self) { try read() }
            #expect(error?.code == .unsupported)
            for part in ["test: ", "x.weight", "F8_E4M3", "scale"] {
                #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            }
        }
    }

    @Test(arguments: [
        (ElementType.other, "F4"), (.other, "U16"), (.int8, "I8"), (.uint8, "U8"), (.int32, "I32"), (.bool, "BOOL"),
    ]) func unsupportedTypesAreErrorsWhenTheTensorIsNeeded(_ type: ElementType, _ typeName: String) {
        let table = table(("x.weight", type, typeName))
        for read in [{ _ = try table.weight("x.weight", [2, 2]) }, { _ = try table.floats("x.weight", [2, 2]) }]
            as [() throws -> Void]
        {
            let error = #expect(throws: LyraError.self) { try read() }
            #expect(error?.code == .unsupported)
            #expect(error?.message.contains("x.weight") == true && error?.message.contains(typeName) == true)
        }
        #expect(table.contains("x.weight"))
    }
}
