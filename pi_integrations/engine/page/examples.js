// What the playground starts with.
const SHORT = `def score(response_text, input_text, kwargs):
    words = len(response_text.split())
    return {"score": min(1, 40 / max(words, 1)), "explanation": f"{words} words"}`;

export const INPUT = "Where is my order? I have been waiting for a week.";
export const OUTPUT = "I am sorry for the wait. Your order left our warehouse this morning and arrives on Thursday.";

export const EXAMPLES = {
  questions: [
    { label: "Answers", question: "Does the response answer the customer's question?", weight: 2 },
    { label: "Polite", question: "Is the response polite?" },
    { label: "Short", question: "Is the response short?", scoring_type: "PYTHON_CODE", python_code: SHORT },
  ],
  dimensions: {
    name: "Support answer",
    description: "An answer to a customer of a shop",
    dimensions: [
      {
        label: "Help",
        description: "Does it help?",
        weight: 2,
        sub_dimensions: [
          { label: "Answers", description: "Does the response answer the customer's question?" },
          { label: "Next step", description: "Does the response say what happens next?" },
        ],
      },
      {
        label: "Tone",
        description: "Does it sound right?",
        sub_dimensions: [{ label: "Polite", description: "Is the response polite?" }],
      },
    ],
  },
};
