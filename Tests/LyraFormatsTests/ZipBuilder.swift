@testable import LyraFormats

/// Builds zip archives for tests, also archives that torch.save never writes.
struct ZipBuilder {
    var content: [UInt8] = []
    private var directory: [UInt8] = []
    private var count: UInt16 = 0

    mutating func add(
        _ name: String, _ bytes: [UInt8], method: UInt16 = 0, flags: UInt16 = 0, zip64: Bool = false,
        localName: String? = nil,
        claimedSize: UInt32? = nil, offset: UInt32? = nil
    ) {
        let size = claimedSize ?? UInt32(bytes.count)
        let place = UInt32(content.count)
        func common(_ name: String, extra: UInt16) -> [UInt8] {
            var record: [UInt8] = []
            record.append(UInt16(20))
            record.append(flags)
            record.append(method)
            record.append(UInt32(0))  // time and date
            record.append(UInt32(0))  // the checksum is not read
            record.append(zip64 ? UInt32.max : size)
            record.append(zip64 ? UInt32.max : size)
            record.append(UInt16(name.utf8.count))
            record.append(extra)
            return record
        }
        content.append(UInt32(0x0403_4B50))
        content += common(localName ?? name, extra: 0) + Array((localName ?? name).utf8) + bytes

        directory.append(UInt32(0x0201_4B50))
        directory.append(UInt16(20))
        directory += common(name, extra: zip64 ? 28 : 0)
        directory += [UInt8](repeating: 0, count: 10)  // comment, disk, attributes
        directory.append(zip64 ? UInt32.max : offset ?? place)
        directory += Array(name.utf8)
        if zip64 {
            directory.append(UInt16(1))
            directory.append(UInt16(24))
            for value in [size, size, offset ?? place] { directory.append(UInt64(value)) }
        }
        count += 1
    }

    func finished(zip64: Bool = false, comment: [UInt8] = []) -> [UInt8] {
        var file = content + directory
        if zip64 {
            let end = file.count
            file.append(UInt32(0x0606_4B50))
            file.append(UInt64(44))
            file += [UInt8](repeating: 0, count: 12)
            for value in [UInt64(count), UInt64(count), UInt64(directory.count), UInt64(content.count)] {
                file.append(value)
            }
            file.append(UInt32(0x0706_4B50))
            file.append(UInt32(0))
            file.append(UInt64(end))
            file.append(UInt32(1))
        }
        file.append(UInt32(0x0605_4B50))
        file.append(UInt32(0))
        file.append(zip64 ? UInt16.max : count)
        file.append(zip64 ? UInt16.max : count)
        file.append(zip64 ? UInt32.max : UInt32(directory.count))
        file.append(zip64 ? UInt32.max : UInt32(content.count))
        file.append(UInt16(comment.count))
        return file + comment
    }
}
