/// `rope_scaling`, or `rope_parameters` as transformers 5 calls it: with the numbers themselves, or with an object of them for
/// each type of layers. Which kinds are computed, the table of known keys says.
struct RopeParameters: Decodable {
    var theta: Double?
    /// Frequency pairs that follow time, height and width.
    var sections: [Int]?
    /// What it says of single types of layers.
    var layers: [RopeParameters] = []

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        theta = try container.decodeIfPresent(Double.self, forKey: Key(stringValue: "rope_theta"))
        sections = try container.decodeIfPresent([Int].self, forKey: Key(stringValue: "mrope_section"))
        for key in container.allKeys where (try? container.decode(JSONObject.self, forKey: key)) != nil {
            layers.append(try container.decode(RopeParameters.self, forKey: key))
        }
    }
}

/// Takes any JSON object.
struct JSONObject: Decodable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Swift.Decoder) throws { _ = try decoder.container(keyedBy: Key.self) }
}
