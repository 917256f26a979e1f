"""The rules of `Refusal`: the ways to refuse that are known."""
# ruff: noqa: E501  (a rule is easier to read on few lines)

from __future__ import annotations

from typing import NamedTuple

__all__ = ["REFUSAL_RULES", "RefusalRule"]


class RefusalRule(NamedTuple):
    """One way to refuse.

    Attributes:
        language: Of the words.
        pattern: Matched without case, on text without accents and with straight apostrophes.
        score: How sure it is that this is a refusal.
    """

    language: str
    pattern: str
    score: float


_EN_CANNOT = (
    r"(?:can(?:no|')t|can not|cannot|(?:am|'m) (?:not able|unable) to|(?:am|'m) not (?:going|allowed|permitted) to|"
    r"won't(?: be able to)?|will not(?: be able to)?|must decline to|have to decline to|refuse to|"
    r"(?:do|would)(?:n't| not) feel comfortable|(?:am|'m) not comfortable|(?:am|'m) programmed not to)"
)
_EN_HELP = (
    r"(?:help|assist(?:ing)?|helping|fulfil|compl(?:y|ete) (?:with )?(?:this|that|your)|comply|support (?:this|that|your)|"
    r"engage|participate|provid(?:e|ing)|creat(?:e|ing)|writ(?:e|ing)|generat(?:e|ing)|produc(?:e|ing)|giv(?:e|ing)|"
    r"offer|shar(?:e|ing)|discuss(?:ing)?|answer(?:ing)?|do (?:that|this)|respond|facilitate|encourage|promote|"
    r"suggest|condone|teach|recommend|continue (?:with )?(?:this|that|the)|explain how|tell you (?:how|that)|"
    r"accommodate|process (?:this|that|your) request|in good conscience)"
)
REFUSAL_RULES: tuple[RefusalRule, ...] = (
    RefusalRule("en", rf"\bi(?: am| must|'m)?(?: really| truly| very| so| terribly)? ?(?:sorry|afraid|apologi[sz]e)\b"
        rf"[^.!?\n]{{0,40}}?\bi(?: simply| just| really)? ?{_EN_CANNOT} (?:\w{{2,12}} )?{_EN_HELP}\b", 0.95),
    RefusalRule("en", rf"\b(?:sorry|apologies)\b[^.!?\n]{{0,20}}\bi(?: simply| just)? ?{_EN_CANNOT} (?:\w{{2,12}} )?{_EN_HELP}\b", 0.9),
    RefusalRule("en", r"\b(?:sorry|apologi[sz]e|apologies)[^.!?\n]{0,20}\b(?:that(?:'s| is)|this is) (?:not )?something"
        r" (?:that )?i (?:can(?:'t|not)?|won't|am not able)\b", 0.9),
    RefusalRule("en", rf"(?:^|[.!?\n] ?|\bbut |\bhowever,? |\bunfortunately,? |\bso |\band |\b(?:ai|model|assistant),? )i(?: simply| just|"
        rf" really)? ?{_EN_CANNOT} (?:\w{{2,12}} )?(?:help|assist|fulfil|comply|engage|participate|facilitate|condone|"
        r"support (?:this|that|your)|do (?:that|this)|accommodate|in good conscience|answer (?:that|this)|"
        r"process (?:this|that|your) request|discuss (?:that|this)|complete (?:this|that|your) request)", 0.85),
    RefusalRule("en", rf"(?:^|[.!?\n] ?|\bbut |\bhowever,? |\bunfortunately,? |\bso |\b(?:ai|model|assistant),? )i(?: simply| just)?"
        rf" ?{_EN_CANNOT} (?:\w{{2,12}} )?(?:provid(?:e|ing)|creat(?:e|ing)|writ(?:e|ing)|generat(?:e|ing)|produc(?:e|ing)|"
        r"giv(?:e|ing)|offer|shar(?:e|ing)|suggest|encourage|promote|teach|explain how|tell you how)\b", 0.7),
    RefusalRule("en", r"\bi (?:must|have to|need to|will have to|'ll have to|'d have to) (?:respectfully |politely )?"
        r"(?:decline|refuse)\b|\bi (?:respectfully |politely )?decline to\b|\bi(?:'d| would) (?:rather|prefer) not\b", 0.85),
    RefusalRule("en", r"\b(?:goes |is |are |would be |be )?(?:against|violat(?:e|es|ing)) (?:my|our|openai's|the (?:ethical|content|usage|safety)) "
        r"(?:\w+ )?(?:guidelines|polic(?:y|ies)|programming|principles|values|terms|rules)\b", 0.7),
    RefusalRule("en", r"\b(?:it (?:is|would be)|that(?:'s| is)|this is) (?:not (?:appropriate|ethical|legal|acceptable)|"
        r"(?:illegal|unethical|inappropriate|harmful)) [^.!?\n]{0,40}\b(?:for me )?to (?:provide|help|assist|create|write|"
        r"give|share|discuss|generate)\b", 0.75),
    RefusalRule("en", r"\b(?:your|this|that) request (?:goes against|violates|cannot be|can't be|is not something|was "
        r"(?:declined|refused))", 0.75),
    RefusalRule("en", r"^(?:no[,.!] )?i (?:won't|will not|refuse|can't|cannot)(?: do (?:that|this|it))?[.!]?$", 0.7),
    RefusalRule("en", r"(?:^|[.!?\n] ?|\bbut |\bsorry, )(?:that(?:'s| is)|this is) not something (?:that )?i"
        r"(?: can|'m able to|'m willing to|'m going to| will) ", 0.8),
    RefusalRule("fr", r"\b(?:je suis|desole)?[^.!?\n]{0,25}\bje ne (?:peux|pourrai|suis) (?:malheureusement |donc )?pas "
        r"(?:en mesure |autorisee? |capable )?(?:de |d')?(?:vous |t')?(?:y )?(?:aider|assister|fournir|repondre|creer|"
        r"ecrire|rediger|donner|generer|participer|satisfaire|acceder|traiter|partager|accompagner|encourager|faire (?:ca|cela))",
        0.85),
    RefusalRule("fr", r"\bje (?:dois|me vois (?:oblige|contraint) de) (?:decliner|refuser)|\bje refuse de\b|contraire a mes", 0.8),
    RefusalRule("de", r"\b(?:ich kann|kann ich|ich darf|darf ich|ich werde|ich bin)\b[^.!?\n]{0,70}\b(?:nicht|keine?n?)\b"
        r"[^.!?\n]{0,60}\b(?:helfen|weiterhelfen|behilflich|unterstutzen|beantworten|bereitstellen|geben|erstellen|"
        r"schreiben|nachkommen|erfullen|anbieten|verfassen|in der lage)\b", 0.8),
    RefusalRule("de", r"\bich muss (?:diese |ihre |deine |das )?[^.!?\n]{0,30}ablehnen|verstosst gegen meine|gegen meine richtlinien",
        0.8),
    RefusalRule("es", r"\bno (?:puedo|podre|podria|me es posible|estoy en condiciones de) (?:\w+ )?(?:ayudar(?:te|le|os)?|"
        r"asistir(?:te|le)?|proporcionar(?:te|le)?|cumplir|responder|crear|escribir|generar|dar(?:te|le)?|participar|"
        r"ofrecer(?:te|le)?|compartir|atender|hacer eso|brindar(?:te|le)?)", 0.8),
    RefusalRule("es", r"\b(?:debo|tengo que) (?:rechazar|declinar|negarme)|va en contra de mis|me niego a", 0.8),
    RefusalRule("it", r"\bnon (?:posso|potro|sono in grado di|mi e possibile) (?:\w+ )?(?:aiutar(?:ti|la|vi|e)?|assister(?:ti|la|e)|"
        r"fornir(?:ti|le|e)|rispondere|creare|scrivere|generare|dar(?:ti|le|e)|soddisfare|partecipare|condividere|farlo)", 0.8),
    RefusalRule("it", r"\bdevo (?:rifiutare|declinare)|mi rifiuto di|contro le mie linee", 0.8),
    RefusalRule("pt", r"\bnao (?:posso|poderei|consigo|sou capaz de|estou autorizad[oa] a) (?:\w+ )?(?:ajudar|ajuda-l[oa]|auxiliar|"
        r"fornecer|responder|criar|escrever|gerar|dar|atender|participar|compartilhar|partilhar|fazer isso|oferecer)", 0.8),
    RefusalRule("pt", r"\b(?:devo|tenho (?:que|de)) (?:recusar|declinar)|vai contra (?:as )?minhas|recuso-me a", 0.8),
    RefusalRule("nl", r"\b(?:ik kan|kan ik|ik mag|mag ik|ik ben|ik wil)\b[^.!?\n]{0,50}\b(?:niet|geen)\b[^.!?\n]{0,50}\b"
        r"(?:helpen|bijstaan|assisteren|verstrekken|geven|schrijven|maken|voldoen|beantwoorden|ondersteunen|in staat)\b", 0.8),
    RefusalRule("nl", r"\bik moet (?:dit |dat |je |uw )?[^.!?\n]{0,30}(?:weigeren|afwijzen)|tegen mijn richtlijnen", 0.8),
    RefusalRule("pl", r"\bnie (?:moge|jestem w stanie) (?:\w+ ){0,3}(?:pomoc|udzielic|dostarczyc|napisac|stworzyc|odpowiedziec|"
        r"spelnic|podac)", 0.8),
    RefusalRule("sv", r"\b(?:jag kan|kan jag)\b[^.!?\n]{0,30}\binte\b[^.!?\n]{0,40}\b(?:hjalpa|bista|ge|skriva|skapa|svara)\b", 0.8),
    RefusalRule("ru", r"я не (?:могу|смогу|буду|в состоянии) (?:[\w ]{0,20})?(?:помочь|помогать|предоставить|выполнить|ответить|"
        r"написать|создать|обсуждать|дать|поддержать)", 0.8),
    RefusalRule("zh", r"我(?:无法|不能|不可以|没办法|無法)(?:为您|为你|向您|向你|給你|给你|满足|滿足)?(?:提供|帮助|幫助|协助|協助|回答|满足|完成|生成|参与|讨论|编写)", 0.85),
    RefusalRule("ja", r"(?:お手伝い|お答え|ご提供|提供|支援|対応|お応え|回答)(?:する)?(?:こと)?(?:は|が)?(?:でき(?:ません|かね)|致しかね|いたしかね)", 0.85),
)  # fmt: skip
"""The ways to refuse that are known. Their scores are combined as independent evidence."""
