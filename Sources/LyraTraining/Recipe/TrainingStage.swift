/// What a run teaches: the stages of the paper (arXiv 2412.09501), and training from nothing.
public enum TrainingStage: String, Sendable, CaseIterable {
    /// Stage 1: the speech projector, by speech and its transcript.
    case projector = "1"
    /// Stage 2: an adapter and its projector, by instructions with images and speech, with the regularizer.
    case instructions = "2"
    /// Stage 3: an adapter and its projector, by long speech.
    case longSpeech = "3"
    /// Stage 4: the speech generator, by answers with their speech units. A checkpoint that has none gets a fresh one.
    case generator = "4"
    /// All parts of a small model, or named ones, by text and media.
    case pretrain
}

/// What the stage `pretrain` learns.
public enum TrainingObjective: String, Sendable, CaseIterable {
    /// To answer: the cross-entropy of conversations' answers.
    case language
    /// To tell, with linear heads over a tower's rows, what the rows' labels are, or which labels they spell.
    case speechTower = "speech_tower"
    case visionTower = "vision_tower"
    /// To say units as a recording does.
    case vocoder
}
