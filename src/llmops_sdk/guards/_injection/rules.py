r"""The rules of `PromptInjection`, as data.

They read a text in lower case, without accents, with look-alike letters made Latin. A rule alone blocks when its score
reaches the threshold; weaker ones add up as independent evidence. They describe what an attack asks for (to put rules
aside, to show the prompt, to play somebody without rules, to obey text of another origin), not sentences of known ones.
"""

from __future__ import annotations

import re

from llmops_sdk.guards._patterns.guard import Rule

__all__ = ["FOREIGN_RULES", "FREQUENT_WORDS", "INJECTION_RULES", "SQUEEZED_RULES"]

FREQUENT_WORDS = frozenset(
    [
        "to",
        "the",
        "a",
        "in",
        "is",
        "be",
        "are",
        "can",
        "for",
        "from",
        "use",
        "go",
        "no",
        "you",
        "i",
        "my",
        "how",
        "if",
        "as",
        "do",
        "not",
        "have",
        "has",
        "sie",
        "am",
        "ne",
        "n",
        "tu",
        "al",
        "without",
        "new",
        "your",
        "any",
        "all",
        "open",
    ]
)
"""Where a match can begin with one of these, the rule is tried only in texts that hold one of its literals, too."""

_GAP = r"(?:[\w'\-]{1,24}[^\w.!?\n]{1,3})"


def _gap(most: int) -> str:
    """Up to `most` words of the same sentence."""
    return f"{_GAP}{{0,{most}}}"


def _rule(kind: str, score: float, pattern: str, *literals: str) -> Rule:
    return Rule(kind=kind, score=score, pattern=pattern, literals=literals)


_S = r"[^\w.!?\n]{1,3}"
_YOUR = r"(?:your|ur|the|its|this|all|these|any|every|those|their)"
_RULES_EN = (
    r"(?:instruct(?:ions?|ed)|prompts?|rules?|guidelines?|guidance|directives?|directions|commands|orders"
    r"|programming"
    r"|polic(?:y|ies)|safeguards?|restrictions|constraints|safety\W[a-z]{1,20}|filters?|alignment|ethics"
    r"|training"
    r"|moderation|limitations|protocols?)"
)
_PROMPT_EN = (
    r"(?:system\W{0,3}(?:prompts?|messages?|instructions?|configurations?|settings)|(?:hidden|secret|internal"
    r"|initial|original"
    r"|starting|first|developer|confidential|operating|exact|preset|pre-?prompt|base|core|prior|previous"
    r"|custom)"
    r"\W(?:[a-z]{1,12}\W)?(?:prompts?|instructions?|messages?|directives?|guidelines|rules)|pre-?prompt"
    r"|initiali[sz]ation string)"
)
_SHOW_EN = (
    r"(?:show|reveal|print|display|output|repeat|tell|give|write|leak|expose|share|paste|send|list|disclose"
    r"|dump|return"
    r"|recite|reproduce|summari[sz]e|translate|encode|describe|explain|provide|copy|quote|see|read|state"
    r"|type|say)"
)

_WITHOUT = (
    r"\b(?:without|no|not have|has no|have no|free (?:of|from)|lacks?|n[o']t bound by|unbound by"
    r"|removes? all|zero"
    r"|never follow|broken free (?:of|from)|not (?:restrained|restricted|limited|bound|constrained) by"
    r"|ignores? (?:all|any))"
)

_ANY = r"[^\n]{1,80}?"

INJECTION_RULES: tuple[Rule, ...] = (
    # --- a document that speaks to who reads it ---
    _rule(
        "while_reading",
        0.5,
        r"\b(?:when|whenever|while|if|before|after)\W{1,3}(?:you\W{1,3})?(?:are\W{1,3}|have\W{1,3})?"
        r"(?:asked to\W{1,3})?"
        r"(?:summari[sz](?:e|ing)|translat(?:e|ing)|process(?:ing)?|analy[sz](?:e|ing)|pars(?:e|ing)|review(?:ing)?"
        rf"|index(?:ing)?|answer(?:ing)?){_S}(?:this|the (?:above|page|document|text|e-?mail|content|user)){_ANY}"
        r"(?:also (?:send|forward|include|call|post|append|upload|fetch|visit|add|mention|print)"
        r"|(?:first|instead|always|you must) (?:send|forward|call|post|append|upload|fetch|visit|say|print|include"
        r"|add))\b",
    ),
    _rule(
        "to_the_machine",
        0.6,
        r"\b(?:llms?|language models?|ai (?:assistants?|models?|agents?|systems?)|chatbots?)\W{1,3}(?:that are\W{1,3})?"
        r"(?:processing|reading|parsing|summari[sz]ing|reviewing|analy[sz]ing|indexing|integrating|using|evaluating)"
        rf"{_S}(?:this|these){_S}{_gap(3)}(?:must|should|shall|have to|need to|are (?:required|asked|instructed) to)\b",
    ),
    _rule(
        "to_the_machine",
        0.6,
        r"\b(?:to|dear|hey|attention)\W{1,3}(?:the\W{1,3}|any\W{1,3}|all\W{1,3})?(?:ai|llm|language model"
        r"|ai model|ai assistant|ai agent|chatbot)s?\W{1,3}(?:that is\W{1,3}|which is\W{1,3}|who is\W{1,3})?"
        r"(?:reading|reviewing|processing|summari[sz]ing|screening"
        r"|evaluating|grading|scoring|analy[sz]ing)\b",
        "reading",
        "reviewing",
        "processing",
        "summari",
        "screening",
        "evaluating",
        "grading",
        "scoring",
        "analy",
    ),
    # --- how a prompt is to be shown; these words stay in English in attacks of any language ---
    _rule(
        "shown_how",
        0.6,
        r"\byou are\W{1,3}[^\n.]{0,60}\btxt\b",
        "you are'",
        'you are"',
    ),
    _rule(
        "shown_how",
        0.6,
        r"<(?:secret|hidden|private|internal|confidential)>(?:\.\.\.|\s)?</",
        "</secret",
        "</hidden",
        "</private",
        "</internal",
        "</confidential",
    ),
    # --- put together from pieces, and then obeyed ---
    _rule(
        "pieces_obeyed",
        0.6,
        rf"\b(?:concatenate|combine|join|assemble|decode|unscramble|merge){_S}{_gap(8)}(?:and|then){_S}(?:then{_S})?"
        r"(?:do (?:what|exactly|as)|follow (?:it|the result|them|what)|execute (?:it|the result|them)|obey|comply"
        r"|respond to (?:it|the result)|answer (?:it|the result))\b"
        rf"|\b(?:concatenate|combine|join|assemble|merge){_S}{_gap(8)}(?:and|then){_S}(?:send|print|say|use){_S}{_gap(2)}as"
        r" (?:your|the) (?:instructions?|prompt|task)\b",
    ),
    # --- put the instructions aside ---
    _rule(
        "override",
        0.9,
        r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|override|bypass|overlook|discard|neglect"
        r"|stop following"
        rf"|do not (?:follow|obey)|don'?t (?:follow|obey)|pay no attention to){_S}{_gap(2)}"
        r"(?:all|any|previous|prior|above|earlier|preceding|foregoing|past|former|initial|original|system"
        r"|your|every|developer"
        rf"|safety|other|existing|content|openai'?s?){_S}{_gap(4)}{_RULES_EN}\b",
        "ignor",
        "disregard",
        "forget",
        "overrid",
        "bypass",
        "overlook",
        "discard",
        "neglect",
        "follow",
        "obey",
        "attention",
    ),
    _rule(
        "override_everything",
        0.8,
        rf"\b(?:ignore|disregard|forget){_S}(?:everything|anything|all|whatever|what){_S}{_gap(3)}"
        r"(?:above|before|previously|earlier|so far|prior|told|said|until now)\b",
    ),
    _rule(
        "override_short",
        0.7,
        rf"\b(?:ignore|disregard|forget){_S}(?:(?:the|all|my){_S})?(?:previous|prior|above|earlier|preceding"
        r"|foregoing)"
        rf"{_S}{_gap(2)}(?:instructions?|prompts?|directions|directives|commands)\b"
        rf"|\bignore{_S}(?:the|this|that){_S}(?:user|safety|system prompt|[a-z]{{3,12}} guidelines)\b",
    ),
    _rule(
        "new_instructions",
        0.55,
        rf"\b(?:your|here are(?: your)?|follow(?: these)?|execute(?: these)?){_S}new (?:instructions?|task"
        r"|objective|directives?|rules|role|orders)\b"
        r"|\bnew (?:instructions?|directives?|orders)\s{0,2}:|\b(?:rules|instructions"
        r"|guidelines) have (?:been )?(?:changed|updated|replaced|lifted)\b"
        r"|\byour (?:real|true|actual|only) (?:task|goal|purpose|instructions?|objective)\b",
        "new ",
        "rules have",
        "instructions have",
        "guidelines have",
        "your ",
    ),
    _rule(
        "supersede",
        0.6,
        r"\b(?:supersedes?|overrides?|replaces?|takes? precedence over|cancels?|nullif(?:y|ies)"
        rf"|invalidates?){_S}(?:all|any|your|every|other|the){_S}{_gap(3)}"
        r"(?:prior|previous|earlier|ones|instructions|directives|rules|prompts|programming)\b",
    ),
    _rule(
        "boundary_of_instructions",
        0.75,
        r"\b(?:end|begin|start|beginning)\b(?: of)?(?: the| these| your)?"
        r" (?:new|out of date|outdated|old|previous|prior|system|updated|original|all|earlier)\W{1,3}(?:system )?"
        r"(?:instructions?|prompts?|directives?|programming)(?=\W{0,2}[%#=*\-<\])}~:\n]|\W{0,2}\Z)"
        r"|\bbegin reprogramming\b",
        "instruction",
        "prompt",
        "directive",
        "programming",
    ),
    _rule(
        "to_the_assistant",
        0.75,
        r"\bnew (?:instructions?|orders?|directives?)\W{1,3}(?:to|for)\W{1,3}(?:the |this |all |any )?"
        r"(?:chat ?bot|chat assistant|assistant|ai|language model|model|llm|bot)\b",
        "new instruction",
        "new order",
        "new directive",
    ),
    _rule(
        "instructions_void",
        0.85,
        r"\ball\W?(?:the )?(?:previous|prior|earlier)\W{1,3}(?:instructions|directions|rules|prompts)"
        r" (?:are|were|is) (?:now )?(?:false|void|invalid|obsolete|wrong|cancell?ed|out of date|outdated|fake)\b",
        "instructions",
        "directions",
        "rules",
        "prompts",
    ),
    _rule(
        "stop_and_say",
        0.75,
        r"\bstop everything\b[^\n]{0,30}\b(?:print|say|output|write|repeat|respond)\b",
        "stop everything",
    ),
    _rule(
        "your_instructions_listed",
        0.75,
        rf"\b(?:list|relay|repeat|recite|restate|transcribe|enumerate|regurgitate){_S}{_gap(6)}?your{_S}"
        r"(?:(?:initials?|original|system(?:'s|s)?|internal|hidden|own|full|exact)\W{1,3})?"
        r"(?:parameters and )?(?:instructions|directives|system prompt|initial prompt)\b",
        "instructions",
        "directives",
        "prompt",
    ),
    # --- show the prompt ---
    _rule(
        "prompt_leak",
        0.8,
        rf"\b{_SHOW_EN}{_S}(?:me{_S}|us{_S}|back{_S}|out{_S})?{_gap(3)}?(?:your|ur|you{_S}[a-z]{{3,6}}|entire"
        rf"|full|whole|complete|hidden){_S}{_gap(3)}?{_PROMPT_EN}\b"
        rf"|\b{_SHOW_EN}{_S}(?:me{_S})?(?:the|<|everything in the){{0,1}}{_S}?{_gap(1)}(?:hidden|secret"
        rf"|confidential|internal|developer){_S}{_gap(1)}(?:system{_S})?(?:prompts?|instructions?|messages?)\b",
    ),
    _rule(
        "system_prompt_wanted",
        0.75,
        r"\b(?:show|reveal|print|display|output|repeat|leak|expose|share|paste|disclose|dump|recite|reproduce"
        r"|see|encode|read|give me|tell me)"
        rf"{_S}{_gap(4)}(?:system{_S}(?:prompts?|messages?|instructions?)|systemprompt"
        r"|initial prompt)\b(?!\W{0,2}(?:text|in the|format))"
        r"|\bsystem configuration\W{1,3}(?:including|and)\W|\b(?:print|log|echo|output)\(\W?system_?prompt",
    ),
    _rule(
        "your_instructions_asked",
        0.75,
        rf"\b(?:what|which){_S}{_gap(3)}(?:your{_S}(?:initial|original|system|exact|first|full|hidden|secret"
        r"|current|starting)?\W{0,2}(?:instructions|prompt|system prompt|directives|guidelines"
        rf"|rules)\b(?!{_S}(?:for|on|about|regarding|to)\b)"
        r"|you (?:told|instructed|given|prompted) (?:before|initially|at the (?:start|beginning)|not to|prior)"
        r"|written above|you not supposed to (?:tell|say|reveal)|were those instructions)",
    ),
    _rule(
        "your_instructions_asked",
        0.75,
        r"\b(?:instructions|prompt|text|rules|words|message|context)\W(?:that\W)?you (?:were|have been"
        r"|received|got|was)\W(?:given|told|provided|initially|at the|in the)"
        r"|\bmy instructions (?:are|were)\b|\bi was instructed to\b|\bthe system prompt is\b",
        "you were",
        "you have been",
        "you received",
        "you got",
        "instructions are",
        "instructed to",
        "prompt is",
    ),
    _rule(
        "repeat_above",
        0.75,
        r"\b(?:repeat|print|output|recite|copy|reproduce|write|translate|summari[sz]e|return"
        rf"|go line by line){_S}{_gap(5)}"
        r"(?:(?:text|words?|everything|messages?|conversation|all|content|lines?|see|paragraphs?|sentences?"
        r"|instructions?)\W{1,3}(?:is\W|written\W|you see\W|from\W)?(?:above|before this|so far)|above (?:text"
        r"|message|conversation|words)|you see above|entire conversation|previous messages?"
        r"|starting with\W{1,4}you are|context window)\b",
        "above",
        "before this",
        "so far",
        "conversation",
        "previous message",
        "you are",
        "context window",
    ),
    _rule(
        "you_are_quote",
        0.6,
        r"\b(?:starting|beginning|start|begin|begins|starts)\W{1,3}(?:with|from"
        rf"|at)\W{{1,3}}{_gap(3)}\W{{0,3}}[\"']you are\b|sentence of (?:your|the) (?:system )?prompt\b"
        r"|\btxt code ?block\b",
    ),
    _rule(
        "configuration_leak",
        0.6,
        rf"\b(?:share|reveal|display|output|print|dump|show|expose){_S}{_gap(1)}?(?:your|internal"
        rf"|full){_S}{_gap(2)}(?:configuration|config|initial parameters|unique id|credentials|api keys?"
        r"|secrets?|source code|training data|parameters|environment variables|context)\b"
        r"|\b(?:override|admin|administrator|maintenance|debug)\W{1,3}(?:mode\W{1,3}"
        r"|override\W{1,3})(?:display|show|print|dump|enabled|activated)",
    ),
    # --- somebody without rules ---
    _rule(
        "no_rules",
        0.4,
        rf"{_WITHOUT}{_S}{_gap(4)}?(?:filters?|content polic(?:y|ies)|rules|guidelines|censorship"
        rf"|safeguards|morals?"
        r"|ethics|ethical|safety (?:guidelines|filters?|rules|protocols|checks)|moral (?:code|compass))\b",
        "filter",
        "polic",
        "rules",
        "guideline",
        "censor",
        "safeguard",
        "moral",
        "ethic",
        "safety",
    ),
    # Mathematics and contracts have no limits either: this one needs a second sign.
    _rule(
        "no_restrictions",
        0.45,
        rf"{_WITHOUT}{_S}{_gap(4)}?(?:restrictions?|limits|limitations?|constraints|boundaries)\b",
        "restriction",
        "limit",
        "constraint",
        "boundar",
    ),
    _rule(
        "unrestricted_persona",
        0.6,
        r"\b(?:unrestricted|uncensored|unfiltered|amoral|jailbroken|unhinged|unethical|unshackled|limitless"
        r"|unaligned)\W{1,3}(?:and\W{1,3}[a-z]{3,14}\W{1,3})?"
        r"(?:ai\b|a\.i|assistant|model|mode|chat ?bot|bot|response|answer|version|gpt|language|output"
        r"|character|reply|content|access)"
        r"|\b(?:is|are|be|now|completely|totally|always|you|jetzt)\W{1,3}(?:an? )?(?:unrestricted|uncensored"
        r"|unfiltered|amoral|jailbroken|unhinged)\b",
        "unrestricted",
        "uncensored",
        "unfiltered",
        "amoral",
        "jailbroken",
        "unhinged",
        "unethical",
        "unshackled",
        "limitless",
        "unaligned",
    ),
    _rule(
        "do_anything_now",
        0.9,
        r"\bdo anything now\b|\b(?:named?|called|act like|persona of|like|you are|as) dan\b(?! brown)"
        r"|\bdan (?:mode"
        r"|can do|has been|has broken|prompt)\b|\bjail ?break(?:ing|ed)?\b"
        r"|\bdeveloper mode (?:enabled|output|policy|response|v2)",
        " dan",
        "do anything now",
    ),
    _rule(
        "do_anything_now",
        0.9,
        r"\[(?:.{0,4}\s)?(?:jailbreak|dan|stop|classic)\]",
        "[jailb",
        "[dan",
        "[class",
        "stop]",
    ),
    _rule(
        "mode_switch",
        0.5,
        r"\b(?:you are now|you're now|enter(?:ing)?|enable|activate|switch(?:ing)? (?:in)?to|act with"
        rf"|simulate|you are in|now in|going into|pretend to be in){_S}{_gap(2)}?(?:developer|debug"
        r"|maintenance|god|unrestricted|jailbreak|sudo|admin|root|evil|opposite|unsafe|dan|stan|aim"
        rf"|dude) mode\b(?!{_S}(?:in the|before|once|by mistake)\b)",
        " mode",
    ),
    _rule(
        "you_are_now",
        0.35,
        r"\b(?:from now on|from this (?:point|moment)|starting now|henceforth"
        rf"|for the rest of this)\b{_S}{_gap(4)}?(?:you|respond|act|answer|reply|speak|pretend|chatgpt|gpt)\b"
        r"|\byou(?:'re| are) (?:now|no longer)\b|\byou (?:are going to|will now|will|must) (?:act|pretend"
        r"|roleplay|role-play|play|simulate|respond|embody|impersonate)\b",
        "from now",
        "from this",
        "rest of this",
        "you are now",
        "you are no longer",
        "you're n",
        "you are going to",
        "you will",
        "you must",
    ),
    _rule(
        "persona_play",
        0.15,
        r"\b(?:act|pretend|behave|respond|answer|roleplay|role-play|imagine|play the role|take (?:up"
        rf"|on) the persona)\b{_S}{_gap(4)}?(?:an? ai\b|chatgpt|gpt|chatbot|language model|evil|villain"
        r"|character (?:named|called)|no rules)"
        r"|\b(?:hypothetical|fictional) (?:ai|language model|story|scenario|character|world|response"
        r"|chatbot)\b|\bin this (?:hypothetical|fictional)|\bai (?:language model|model|chatbot"
        r"|assistant) (?:named|called|who|that|which)\b",
        " ai",
        "ai ",
        "gpt",
        "chatbot",
        "language model",
        "evil",
        "villain",
        "character",
        "no rules",
        "hypothetical",
        "fictional",
    ),
    _rule(
        "never_refuse",
        0.6,
        r"\b(?:never|not|cannot|can't|don't|won't|must not|without|incapable of|unable to"
        r"|no longer)\W{1,3}(?:ever\W|be able to\W|to\W)?"
        r"(?:refus(?:e|es|ing)|declin(?:e|ing)|deny(?:ing)?|censor(?:ing)?|apologi[sz](?:e|ing)"
        r"|moraliz(?:e|ing)|lectur(?:e|ing)|say(?:ing)? (?:no\b|that you can'?t|\Wi can'?t|\Wi'?m sorry)"
        r"|warn(?:ing)?\b|give (?:any )?(?:warnings?|disclaimers?)|include (?:any )?\W?(?:note|warnings?"
        r"|disclaimers?|moral))",
        "refus",
        "declin",
        "deny",
        "censor",
        "apologi",
        "morali",
        "lectur",
        "say",
        "warn",
        "disclaimer",
        "note",
    ),
    _rule(
        "stay_in_character",
        0.3,
        r"\b(?:stay|remain|keep|be|stays|break|breaks|breaking|broke) (?:in |out of |always in )?(?:character"
        r"|your role)\b|\bstay (?:in|a) (?:character|dan|jailbreak)",
        "character",
        "your role",
        "stay",
    ),
    _rule(
        "anything_goes",
        0.45,
        r"\b(?:illegal|unethical|immoral|harmful|dangerous|offensive|explicit|inappropriate"
        r"|malicious)\b[^.!?\n]{0,40}\b(?:illegal|unethical|immoral|harmful|dangerous|offensive|inhumane"
        r"|inappropriate|amoral|violent|malicious)\b"
        r"|\b(?:comply with|answer|fulfil|fulfill|obey|follow|accept|respond to|do|say|grant"
        rf"|allows?){_S}(?:every|any|all|anything|everything|whatever){_S}{_gap(2)}?(?:requests?|questions?"
        r"|content|prompts?|orders?|commands?|i (?:ask|say|want|tell)|user (?:asks|wants|says)|no matter"
        r"|without|asks?)\b"
        r"|\bno matter (?:how|what|if)\b[^.!?\n]{0,40}\b(?:illegal|unethical|immoral|harmful|dangerous"
        r"|offensive|controversial|consequences|it is)\b",
        "illegal",
        "unethical",
        "immoral",
        "harmful",
        "dangerous",
        "offensive",
        "explicit",
        "inappropriate",
        "malicious",
        "comply",
        "answer",
        "fulfil",
        "obey",
        "follow",
        "accept",
        "respond",
        "grant",
        "do any",
        "do every",
        "do all",
        "do what",
        "say any",
        "say every",
        "say what",
        "allow",
        "no matter",
    ),
    _rule(
        "policy_named",
        0.25,
        r"\b(?:openai|anthropic|chatgpt|google|meta|your creators?"
        r"|your developers?)(?:'?s)?\W{1,3}(?:[a-z]{1,12}\W{1,2}){0,2}(?:polic(?:y|ies)|guidelines|rules"
        r"|restrictions|filters|terms|values|limitations)\b",
        "openai",
        "anthropic",
        "chatgpt",
        "google",
        "meta",
        "creator",
        "developer",
    ),
    _rule(
        "two_answers",
        0.45,
        r"\b(?:respond|answer|reply|responses?|answers?)\b[^.!?\n]{0,40}\b(?:two (?:different |separate "
        r"|distinct )?(?:ways|responses|paragraphs|answers|forms)|both as|twice)\b"
        r"|\bas your knowledge (?:is )?cut ?off\b|\bsimulat(?:e|ed|ing)\b[^.!?\n]{0,40}\b(?:ai|gpt|chatgpt"
        r"|model|developer mode)\b",
        "knowledge",
    ),
    _rule(
        "two_answers",
        0.45,
        r"\[(?:gpt|chatgpt|your default chatgpt|normal|default)[^\]\n]{0,30}[\]:]",
        "[gpt",
        "[chatgpt",
        "[normal",
        "[default",
        "[your def",
    ),
    _rule(
        "prefix_injection",
        0.3,
        r"\b(?:start|begin|prefix|precede|starting|beginning)\b[^.!?\n]{0,30}\b(?:with"
        r"|by)\b[^.!?\n]{0,12}[\"'“\[](?:absolutely|sure|of course|certainly|yes|title|my instructions"
        r"|i can do|hell yeah|\w{1,12}:)",
    ),
    # --- text that speaks as the system, or to the assistant ---
    _rule(
        "role_marker",
        0.75,
        r"<\|(?:im_start|im_end|system|endoftext|begin_of_text|start_header_id|eot_id|user|assistant)\|>"
        r"|\[/?inst\]|<</?sys>>|</?(?:system|system_prompt|system_message|sys)>|\[system\]|<start_of_turn>"
        r"|#{2,8}\s{0,2}(?:end of|system|new instruction|instruction override|begin system)"
        r"|-{3,12}\s{0,2}(?:end of (?:document|user input|context|file|input|prompt)|begin (?:system|new))",
        "<|",
        "inst]",
        "sys>",
        "[system]",
        "<system",
        "/system",
        "##",
        "---",
        "<start_of_turn",
    ),
    _rule(
        "system_line",
        0.6,
        r"(?<!\w )\b(?:system|assistant|developer)\s{0,2}:\s{0,3}(?:you|the user|sure|cleanup|ignore"
        r"|grant|new|override|call|admin|from|i |okay|yes|disregard)"
        r"|\b(?:system|important system|urgent system|security|breach|admin(?:istrator)?) (?:note|notice"
        r"|update|alert|override|message|directive)\s{0,2}[:\-—]",
        "system",
        "assistant",
        "developer",
        "security",
        "breach",
        "admin",
    ),
    _rule(
        "to_the_assistant",
        0.7,
        r"\b(?:note|notice|message|attention|instructions?|important|reminder|postinstall)\b\W{0,3}\(?(?:to"
        r"|for)\W(?:any |the |all |self )?\W{0,2}(?:ai\b|bot\b|llm|assistant|a\.i|language model|model\b"
        r"|chatbot|agents?\b|gpt|chatgpt|summari[sz]er)"
        r"|\bif you are an? (?:ai\b|llm|language model|assistant|bot\b|chatbot)|\b(?:any |dear )?(?:ai"
        r"|llm)(?: coding)? (?:systems?|assistants?|agents?|models?)\W{1,3}(?:reading|processing|reviewing"
        r"|integrating|parsing|summari[sz]ing|handling|that (?:read|process)|should first|must)"
        r"|\byou are hereby (?:instructed|ordered|commanded|required)\b",
        " ai",
        "ai ",
        "(ai",
        "bot",
        "llm",
        "assistant",
        "a.i",
        "model",
        "gpt",
        "agent",
        "summari",
        "hereby",
    ),
    _rule(
        "hidden_comment",
        0.6,
        r"<!--[^>]{0,200}\b(?:important|ignore|assistant|agents?|ai|summari[sz]|instruction|must|system"
        r"|prompt)\b",
        "<!--",
    ),
    _rule(
        "append_token",
        0.55,
        rf"\b(?:append|add|include|insert|output|repeat|embed|end){_S}{_gap(4)}?(?:token|canary|code|phrase"
        r"|reference|doc_?id|trace_?id|verbatim|marker|with \W?visit)\b[^.!?\n]{0,60}\b(?:reply|response"
        r"|summary|summaries|answer|review|output|report|end of|every)\b",
    ),
    _rule(
        "append_token",
        0.55,
        r"\bto (?:the end of )?(?:your|every) (?:future )?(?:reply|replies|response|summary|summaries|review"
        r"|answer)\b|\bin (?:your|every|each) (?:future )?(?:reply|summary|response"
        r"|report)\b[^.!?\n]{0,40}\b(?:from now on|persist|you generate|produce)\b",
        "to your",
        "to every",
        "to the end of",
        "in your",
        "in every",
        "in each",
    ),
    _rule(
        "tool_call",
        0.6,
        r"\b(?:call|use|invoke|run|execute|trigger)\W{1,3}(?:the\W{1,2})?\W?(?:send_email|send_mail"
        r"|delete_file|http_post|http_get|transfer_[a-z]{2,12}|execute_[a-z]{2,12}|write_file|read_file"
        r"|run_command|post_[a-z]{2,12}|send_[a-z]{2,12}|delete_[a-z]{2,12}|create_[a-z]{2,12}_?user"
        r"|grant_[a-z]{2,12})\b",
        "_",
    ),
    _rule(
        "exfiltration",
        0.7,
        rf"\b(?:send|forward|email|e-mail|post|upload|transmit|leak|exfiltrate|deliver)\b{_S}{_gap(1)}?(?:the"
        rf"|all|full|any|them|it|everything|user|customer){_S}{_gap(5)}?(?:to"
        r"|at)\W{1,3}[\w.+\-]{1,40}@[\w\-]{1,30}\.[a-z]"
        r"|\b(?:send|forward|email|post|leak|exfiltrate|reveal|output|dump|print"
        rf"|list){_S}{_gap(2)}?(?:customer (?:list|data|database|emails)|api keys?|credentials|passwords?"
        r"|order data|environment variables|env vars?|secrets|private keys?|confidential data)\b",
    ),
    _rule(
        "read_environment",
        0.6,
        r"\becho \$[a-z_]{0,20}(?:key|token|secret|password)|\b(?:cat\W|open\()\W{0,2}[/~\w.]{0,30}(?:\.env"
        r"|secret|passwd|id_rsa|credentials)|\benv \||\bprintenv\b|\bos\.environ\b[^.\n]{0,40}\bprint"
        r"|os\.system\(.{0,3}(?:echo|curl|wget|cat|env)|\bdrop table\b|\brm -rf\b",
        "echo $",
        "cat ",
        "open(",
        "env |",
        "printenv",
        "os.environ",
        "os.system",
        "drop table",
        "rm -rf",
    ),
    _rule(
        "decode_and_obey",
        0.75,
        r"\b(?:decode|decrypt|translate|unscramble|apply|deobfuscate|decipher|reverse)\b[^\n]{0,70}\b(?:and"
        r"|then)\b[^\n]{0,20}\b(?:follow|execute|obey|comply|do (?:exactly )?what it says|carry out|run it"
        r"|do exactly|answer it|act on)\b",
    ),
    _rule(
        "safety_not_applicable",
        0.7,
        r"\b(?:safety|content|usual|normal|security|ethical)\W(?:[a-z]{1,10}\W)?(?:guidelines|polic(?:y|ies)"
        r"|restrictions|protocols?|rules|checks|filters|measures)\W{1,3}(?:(?:were|are|do|does|did|is"
        r"|have been|has been|was)\W)?(?:not\W|n't\W)?(?:meant|apply|disabled|suspended|lifted|for this|off\b"
        r"|removed|void)"
        r"|\b(?:protocols?|safety|restrictions|safe mode|safety mode)"
        r"(?:is |are )?(?:now )?(?:suspended|disabled|lifted|off)\b|\b(?:skip|disable"
        r"|disregard|ignore|exempt from) (?:all |the |any )?(?:usual |safety |content )(?:stuff"
        r"|checks and confirmations|polic(?:y|ies)|restrictions|checks|filters)\b(?! for testing)",
    ),
    _rule(
        "without_questions",
        0.2,
        r"\bno questions asked\b|\bwithout (?:question|asking (?:again|for)|approval|hesitation"
        r"|confirmation)\b|\bno questions\b|\bproceed without\b",
        "question",
        "without",
    ),
    _rule(
        "harm_request",
        0.25,
        r"\b(?:how to|instructions (?:for|on)|steps? to|guide (?:to|on|for)|ways to|explain"
        rf"|describe){_S}{_gap(5)}?(?:bomb|explosives?|weapons?|meth\b|methamphetamine|malware|ransomware"
        r"|steal|hack|poison|tamper|counterfeit|kill|murder|hotwire|launder)",
        "how to",
        "instructions",
        "step",
        "guide",
        "ways to",
        "explain",
        "describe",
    ),
    # --- a task in the middle of other text ---
    _rule(
        "new_task",
        0.6,
        r"\b(?:important|urgent|priority|emergency|updated?|special|secret|additional"
        r"|next)\W{1,3}(?:and \w{1,12} )?new"
        r" (?:instructions?|task|orders?|directives?)\b|\bnew (?:task|instructions?)\W{0,3}[:*\n]",
        "new task",
        "new instruction",
        "new order",
        "new directive",
    ),
    _rule(
        "instead_of_the_task",
        0.6,
        rf"\b(?:when|if|once|whenever|before){_S}(?:you are |you're |you )?(?:asked|told|summari[sz]ing"
        rf"|summari[sz]e|answering|responding"
        rf"|reading|processing){_S}{_gap(8)}?(?:instead|always|only (?:say|reply|answer)|first (?:do|run"
        rf"|send|visit|call))\b",
    ),
    _rule(
        "ignore_and_say",
        0.7,
        rf"\b(?:ignore|disregard|forget){_S}(?:the|all|every|what|this|that|everything|everthing"
        rf"|any){_S}{_gap(5)}?(?:and|then){_S}"
        rf"(?:just |only |simply |instead )?(?:say|state|output|print|reply|respond|answer|repeat|write"
        rf"|tell|give|show|reveal)\b"
        rf"|\b(?:ignore|disregard|forget){_S}(?:what|all|everything|everthing"
        rf"|anything){_S}{_gap(3)}?(?:told|said|instructed|learned|know)\b",
    ),
    _rule(
        "secret_asked",
        0.55,
        rf"\b(?:what(?:'s| is| was)|tell{_S}me|give{_S}me|reveal|share|say|spell|repeat|print"
        rf"|show(?:{_S}me)?|provide|encode){_S}"
        rf"(?:{_gap(4)})?(?:your{_S}|the{_S}secret{_S})(?:secret{_S})?(?:passwords?|passphrase|secret"
        rf"|key|secret key|code ?word)\b",
        "password",
        "passphrase",
        "secret",
        "your key",
        "code word",
        "codeword",
    ),
    _rule(
        "false_authority",
        0.4,
        r"\b(?:i am|i'm|this is|speaking as|as) (?:your|the|an?) (?:developer|creator|administrator"
        r"|admin|programmer|owner|operator"
        r"|system administrator|openai (?:engineer|employee|developer)|sysadmin)\b",
        "developer",
        "creator",
        "admin",
        "programmer",
        "owner",
        "operator",
        "openai",
    ),
    _rule(
        "in_developer_mode",
        0.5,
        r"\b(?:operating|running|working|now) in (?:developer|debug|maintenance|admin|god|test(?:ing)?"
        r"|unrestricted) mode\b",
    ),
    # --- Portuguese, Dutch, Italian ---
    _rule(
        "override_pt_nl_it",
        0.9,
        rf"\b(?:ignore|ignora|ignorar|esqueca|esquece|desconsidere|negeer|vergeet|ignoreer|ignorate"
        rf"|ignori|dimentica|scorda|dimenticate){_S}{_gap(4)}"
        r"(?:instrucoes|regras|ordens|diretrizes|instructies|regels|richtlijnen|opdrachten|aanwijzingen"
        r"|istruzioni|regole|direttive|indicazioni)\b",
    ),
    _rule(
        "prompt_leak_pt_nl",
        0.8,
        rf"\b(?:mostre|mostra|revele|revela|diga|repita|imprima|toon|laat|geef|onthul|herhaal|quais sao"
        rf"|wat (?:is|zijn)){_S}{_gap(4)}?"
        r"(?:prompt (?:do|de) sistema|suas instrucoes|instrucoes (?:do sistema|iniciais|ocultas"
        r"|secretas)|systeem ?prompt"
        r"|systeeminstructies|(?:verborgen|geheime|oorspronkelijke) instructies)\b",
    ),
    # --- German (without umlauts' dots, since accents are taken off) ---
    _rule(
        "override_de",
        0.9,
        r"\b(?:ignorier(?:e|en|t)?|vergiss|vergessen|missachte|missachten|uberschreibe|umgehe|verwirf"
        rf"|befolg(?:e|st|en)){_S}{_gap(5)}"
        r"(?:anweisung(?:en)?|instruktion(?:en)?|regeln|richtlinien|vorgaben|befehle|prompts?|besprochen"
        r"|gesagt|einschrankungen|sicherheits\w{2,20})\b",
    ),
    _rule(
        "prompt_leak_de",
        0.8,
        r"\b(?:zeig|zeige|verrate|verrat|gib|nenne|drucke|wiederhole|offenbare|schreib|schreibe|sag|sage"
        rf"|was (?:sind|steht|lautet)|wie lautet){_S}{_gap(4)}"
        r"(?:system\W?prompts?|system\W?anweisung(?:en)?|system\W?nachricht|(?:ursprunglichen|anfanglichen"
        r"|geheimen|internen|versteckten)\W(?:anweisung(?:en)?|prompts?|regeln|daten))\b",
    ),
    _rule(
        "no_restrictions_de",
        0.6,
        r"\b(?:ohne|keine|keinerlei|frei von)\W(?:[a-z]{2,14}\W)?(?:einschrankung(?:en)?|beschrankung(?:en)?"
        r"|regeln|richtlinien|filter|zensur|einschraenkungen)\b|\b(?:du bist|sie sind) (?:jetzt|nun"
        r"|ab sofort) [^.!?\n]{0,30}\b(?:uneingeschrankt|unzensiert|frei|entwicklermodus)\b"
        r"|\bgibst du\W[^.!?\n]{0,40}\bpreis\b",
        "ohne",
        "kein",
        "frei",
        "du bist",
        "sie sind",
        "gibst du",
    ),
    _rule(
        "new_instructions_de",
        0.6,
        r"\b(?:neue|neuen) (?:anweisung(?:en)?|regeln|aufgabe)\s{0,2}:|\b(?:ab (?:jetzt|sofort)"
        r"|von nun an)\W{1,3}(?:hast|bist|gibst|darfst|antwortest|wirst) du\b|\bsystemhinweis\b"
        r"|\bsicherheitsrichtlinien\b[^.!?\n]{0,30}\bnicht\b|\bdecodiere\b[^.\n]{0,60}\bund (?:befolge"
        r"|fuhre)\b|\bam ende jeder antwort\b",
        "neue",
        "ab jetzt",
        "ab sofort",
        "von nun",
        "systemhinweis",
        "sicherheitsrichtlinien",
        "decodiere",
        "am ende jeder",
    ),
    # --- French ---
    _rule(
        "override_fr",
        0.9,
        r"\b(?:ignor(?:e|ez|er)|oubli(?:e|ez|er)|neglig(?:e|ez)|contourn(?:e|ez)|ne (?:tiens|tenez) (?:pas"
        rf"|plus) compte de|n'obeis plus|ne suis plus|ne suivez plus){_S}{_gap(2)}"
        r"(?:(?:toutes?|tous|les|tes|vos|mes|ces|des|aux|tout)\W{1,2})(?:[a-z]{2,14}\W)?(?:instructions?"
        r"|consignes?|regles|directives|prompts?|ordres|restrictions|ce qui precede)\b",
        "ignor",
        "oubli",
        "neglig",
        "contourn",
        "compte",
        "obeis",
        "suis plus",
        "suivez plus",
    ),
    _rule(
        "prompt_leak_fr",
        0.8,
        r"\b(?:revel(?:e|ez|er)|montr(?:e|ez|er)|affich(?:e|ez|er)|donn(?:e|ez)|repet(?:e|ez)|imprim(?:e|ez)"
        rf"|dis|dites|divulgu(?:e|ez)|ecri[sv](?:ez)?|quelles? (?:sont|est)){_S}{_gap(4)}?"
        r"(?:prompts? (?:systeme|initial|cache)|(?:instructions?|consignes?|message) (?:du |de )?(?:systeme"
        r"|initiales?|secretes?|cachees?|internes?)|(?:tes|vos|ton|votre) (?:instructions?|consignes?"
        r"|prompts?)\b(?! pour))",
    ),
    _rule(
        "no_restrictions_fr",
        0.6,
        r"\bsans (?:aucune? )?(?:restrictions?|filtres?|limites?|regles|censure)\b|\b(?:tu es"
        r"|vous etes) (?:maintenant|desormais) [^.!?\n]{0,30}\b(?:dan|libre|mode)\b|\bnote systeme\b"
        r"|\bregles de securite\b[^.!?\n]{0,20}\bs'appliquent pas\b|\ba la fin de toute reponse\b"
        r"|\bnouvelles (?:instructions|consignes)\s{0,2}:|\benvoie(?:-les|z-les)?\b[^.!?\n]{0,40}@",
        "sans ",
        "tu es",
        "vous etes",
        "note systeme",
        "regles de",
        "a la fin",
        "nouvelles",
        "envoie",
    ),
    # --- Spanish, and Italian where it comes cheap ---
    _rule(
        "override_es",
        0.9,
        r"\b(?:ignor(?:a|e|en|ar|es|ate)|olvid(?:a|e|en|ar|ate)|omit(?:e|a)|descart(?:a|e)|desobedece"
        rf"|no sigas|dimentica|salta){_S}{_gap(4)}"
        r"(?:instrucciones|reglas|directrices|ordenes|indicaciones|restricciones|istruzioni|regole"
        r"|direttive)\b",
        "ignor",
        "olvid",
        "omit",
        "descart",
        "desobedece",
        "no sigas",
        "dimentica",
        "salta",
    ),
    _rule(
        "prompt_leak_es",
        0.8,
        r"\b(?:muestra(?:me)?|muestre|revela(?:me)?|revele|dime|imprime|repite|ensena(?:me)?|comparte|escribe"
        rf"|mostra(?:mi)?|rivela(?:mi)?|ripeti|cuales son|quali sono){_S}{_gap(4)}?"
        r"(?:prompt(?:s)? (?:del? |di )?(?:sistema|inicial|oculto|iniziale)|(?:instrucciones|mensaje"
        r"|istruzioni) (?:del? |di )?(?:sistema|iniciales|ocultas|secretas|internas|iniziali|segrete)|(?:tus"
        r"|sus|tue) (?:instrucciones|istruzioni)\b(?! para))",
    ),
    _rule(
        "no_restrictions_es",
        0.6,
        r"\b(?:sin|senza|ninguna|nessuna)\W(?:[a-z]{2,12}\W)?(?:restricciones|filtros?|limites|reglas|censura"
        r"|restrizioni|limiti|regole|filtri)\b|\bmodo (?:desarrollador|dios|sin)\b|\b(?:nota del? sistema"
        r"|nota di sistema)\b|\b(?:reglas de seguridad|linee guida di sicurezza)\b[^.!?\n]{0,20}\bno[n]?\b"
        r"|\b(?:al final de cualquier respuesta|alla fine di ogni risposta)\b|\bnuevas instrucciones\s{0,2}:",
        "sin ",
        "senza ",
        "ningun",
        "nessun",
        "modo ",
        "nota d",
        "reglas de",
        "linee guida",
        "al final",
        "alla fine",
        "nuevas",
    ),
)

SQUEEZED_RULES: tuple[Rule, ...] = (
    _rule(
        "override_squeezed",
        0.9,
        r"(?:ignore|disregard|forget|bypass)(?:all|any|the|your|my|these|of){0,3}(?:previous|prior|above"
        r"|earlier|system|safety)?(?:instruction|prompt|rule|guideline|direction)",
        "ignore",
        "disregard",
        "forget",
        "bypass",
    ),
    _rule(
        "prompt_leak_squeezed",
        0.8,
        r"(?:reveal|show|print|repeat|output|display)(?:me|us)?(?:all|the|your|my|full){0,3}(?:systemprompt"
        r"|systemmessage|initialprompt|hiddenprompt|instructions)",
        "prompt",
        "message",
        "instructions",
    ),
    _rule(
        "do_anything_now_squeezed",
        0.9,
        r"doanythingnow|developermodeenabled|jailbreak",
        "doanything",
        "developermode",
        "jailbreak",
    ),
    # The first words are often the only ones that are spaced out.
    _rule(
        "spaced_override_word",
        0.6,
        r"^(?:ignore|disregard|override|jailbreak|bypass|systemprompt|instructions)$",
        "ignore",
        "disregard",
        "override",
        "jailbreak",
        "bypass",
        "systemprompt",
        "instructions",
    ),
)
"""For stretches of single letters (`i g n o r e`), after their gaps were taken out."""


def _foreign(kind: str, score: float, *patterns: str) -> Rule:
    """A rule for a script without Latin letters: it is searched in texts that are not ASCII, as they are written."""
    return Rule(kind=kind, score=score, pattern="|".join(patterns), flags=int(re.IGNORECASE))


FOREIGN_RULES: tuple[Rule, ...] = (
    _foreign(
        "override_ru", 0.9,
        r"(?:игнорируй|игнорируйте|забудь|забудьте|проигнорируй|отбрось)\W[^.!?\n]{0,40}(?:инструкци"
        r"|правила|указани|команды|промпт|ограничени)",
    ),
    _foreign(
        "prompt_leak_ru", 0.8,
        r"(?:покажи|раскрой|выведи|повтори|напиши|назови"
        r"|скажи)\W[^.!?\n]{0,30}(?:системн\w{1,4} (?:промпт|инструкц|подсказк|сообщен)|свои инструкции"
        r"|секретн\w{1,4} (?:инструкц|ключ))",
    ),
    _foreign(
        "override_zh", 0.9,
        r"(?:忽略|无视|忘记|忘掉|不要理会|忽視|無視)[^\u3002\uff01\uff1f\n]{0,12}(?:指令|指示|提示|规则|規則|说明|要求|内容)",
    ),
    _foreign(
        "prompt_leak_zh", 0.8,
        r"(?:显示|告诉我|输出|打印|重复|泄露|透露|说出|顯示)[^\u3002\uff01\uff1f\n]{0,12}(?:系统提示|系统指令|系统消息|初始指令|隐藏指令|系統提示|密码)",
    ),
    _foreign(
        "override_ja", 0.9,
        r"(?:指示|命令|ルール|プロンプト|規則|制約)[^\u3002\uff01\uff1f\n]{0,8}(?:無視|忘れ|破棄)",
    ),
    _foreign(
        "prompt_leak_ja", 0.8,
        r"(?:システムプロンプト|初期指示|隠された指示|システムメッセージ)[^\u3002\uff01\uff1f\n]{0,10}(?:表示|教え|出力|見せ|開示)",
    ),
    _foreign(
        "override_ko_ar", 0.9,
        r"(?:이전|위의|모든)[^.!?\n]{0,10}(?:지시|명령|지침|규칙)[^.!?\n]{0,8}(?:무시|잊)",
        r"(?:تجاهل|انس)\W[^.!؟\n]{0,20}(?:التعليمات|الأوامر|القواعد)",
    ),
)  # fmt: skip
"""For texts in other scripts."""
