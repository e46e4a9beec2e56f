/// `rope_scaling`, or `rope_parameters` in transformers 5: either the numbers themselves or one object of numbers for
/// each layer type. `KnownKeys` lists the kinds that lyra computes.
struct RopeParameters: Decodable {
    var theta: Double?
    /// Frequency pairs for time, height and width.
    var sections: [Int]?
    /// Parameters of individual layer types.
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

/// Accepts any JSON object.
struct JSONObject: Decodable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Swift.Decoder) throws { _ = try decoder.container(keyedBy: Key.self) }
}
