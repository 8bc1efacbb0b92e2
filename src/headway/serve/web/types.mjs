/**
 * Shapes that the views share; types only.
 *
 * @typedef {object} Card
 * @property {string} title
 * @property {string} text  Markdown
 * @property {string | null} [licence]
 *
 * @typedef {object} ModelFacts
 * @property {string} family
 * @property {string[]} verbs
 * @property {string | null} [task]
 * @property {number | null} [context]
 * @property {number | null} [vocabulary]
 * @property {number | null} [parameters]
 * @property {number | null} [layers]
 * @property {number | null} [heads]
 * @property {string | null} [engine]
 * @property {number | null} [bits]
 * @property {string | null} [kernels]
 * @property {number | null} [threads]
 * @property {string[]} [languages]  of a translator: from, to
 * @property {string[] | null} [labels]
 * @property {Card | null} [card]
 * @property {Array<{words: number, bleu: number}> | null} [length_curve]
 *
 * @typedef {object} Model
 * @property {string} id
 * @property {ModelFacts} headway
 *
 * @typedef {import("./api.mjs").Api} Api
 *
 * @typedef {object} ViewProps
 * @property {Api} api
 * @property {Model[]} models
 * @property {Record<string, string>} state  what the link's fragment carries
 * @property {(patch: Record<string, string>) => void} setState
 * @property {() => Promise<void>} onModels  asks the server anew which models it serves
 *
 * @typedef {object} TokenShown
 * @property {string} text
 * @property {number} [id]
 * @property {number | null} [surprise]  bits; null or absent where nothing stood before
 * @property {boolean} [given]  part of the prompt
 *
 * @typedef {object} Candidate
 * @property {number} id
 * @property {string} text
 * @property {number} probability
 * @property {number} [kept_probability]
 *
 * @typedef {object} Rest
 * @property {number} count
 * @property {number} probability
 * @property {number} [kept_probability]
 *
 * @typedef {object} NextAnswer
 * @property {Candidate[]} candidates
 * @property {Rest} rest
 * @property {boolean} [windowed]
 */

export {};
