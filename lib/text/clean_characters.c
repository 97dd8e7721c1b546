/* Made by tests/tools/make_clean_tables.py from the data of Python's html module and of ftfy. */
/* clang-format off */
#include "text/clean_tables.h"

/* HTML's named characters. */
const char *const sdi_clean_entities[52] = {
    /* A */
    "!AElig\0Æ\0!AMP\0&\0!Aacute\0Á\0Abreve\0Ă\0!Acirc\0Â\0Acy\0А\0Afr\0\360\235\224\204\0"
    "!Agrave\0À\0Alpha\0Α\0Amacr\0Ā\0And\0⩓\0Aogon\0Ą\0Aopf\0\360\235\224\270\0"
    "ApplyFunction\0\342\201\241\0!Aring\0Å\0Ascr\0\360\235\222\234\0Assign\0≔\0!Atilde\0Ã\0"
    "!Auml\0Ä\0",
    /* B */
    "Backslash\0∖\0Barv\0⫧\0Barwed\0⌆\0Bcy\0Б\0Because\0∵\0Bernoullis\0ℬ\0Beta\0Β\0"
    "Bfr\0\360\235\224\205\0Bopf\0\360\235\224\271\0Breve\0˘\0Bscr\0ℬ\0Bumpeq\0≎\0",
    /* C */
    "CHcy\0Ч\0!COPY\0©\0Cacute\0Ć\0Cap\0⋒\0CapitalDifferentialD\0ⅅ\0Cayleys\0ℭ\0Ccaron\0Č\0"
    "!Ccedil\0Ç\0Ccirc\0Ĉ\0Cconint\0∰\0Cdot\0Ċ\0Cedilla\0¸\0CenterDot\0·\0Cfr\0ℭ\0Chi\0Χ\0"
    "CircleDot\0⊙\0CircleMinus\0⊖\0CirclePlus\0⊕\0CircleTimes\0⊗\0ClockwiseContourIntegral\0∲\0"
    "CloseCurlyDoubleQuote\0”\0CloseCurlyQuote\0’\0Colon\0∷\0Colone\0⩴\0Congruent\0≡\0Conint\0∯\0"
    "ContourIntegral\0∮\0Copf\0ℂ\0Coproduct\0∐\0CounterClockwiseContourIntegral\0∳\0Cross\0⨯\0"
    "Cscr\0\360\235\222\236\0Cup\0⋓\0CupCap\0≍\0",
    /* D */
    "DD\0ⅅ\0DDotrahd\0⤑\0DJcy\0Ђ\0DScy\0Ѕ\0DZcy\0Џ\0Dagger\0‡\0Darr\0↡\0Dashv\0⫤\0Dcaron\0Ď\0"
    "Dcy\0Д\0Del\0∇\0Delta\0Δ\0Dfr\0\360\235\224\207\0DiacriticalAcute\0´\0DiacriticalDot\0˙\0"
    "DiacriticalDoubleAcute\0˝\0DiacriticalGrave\0`\0DiacriticalTilde\0˜\0Diamond\0⋄\0"
    "DifferentialD\0ⅆ\0Dopf\0\360\235\224\273\0Dot\0¨\0DotDot\0\342\203\234\0DotEqual\0≐\0"
    "DoubleContourIntegral\0∯\0DoubleDot\0¨\0DoubleDownArrow\0⇓\0DoubleLeftArrow\0⇐\0"
    "DoubleLeftRightArrow\0⇔\0DoubleLeftTee\0⫤\0DoubleLongLeftArrow\0⟸\0"
    "DoubleLongLeftRightArrow\0⟺\0DoubleLongRightArrow\0⟹\0DoubleRightArrow\0⇒\0"
    "DoubleRightTee\0⊨\0DoubleUpArrow\0⇑\0DoubleUpDownArrow\0⇕\0DoubleVerticalBar\0∥\0"
    "DownArrow\0↓\0DownArrowBar\0⤓\0DownArrowUpArrow\0⇵\0DownBreve\0\314\221\0"
    "DownLeftRightVector\0⥐\0DownLeftTeeVector\0⥞\0DownLeftVector\0↽\0DownLeftVectorBar\0⥖\0"
    "DownRightTeeVector\0⥟\0DownRightVector\0⇁\0DownRightVectorBar\0⥗\0DownTee\0⊤\0"
    "DownTeeArrow\0↧\0Downarrow\0⇓\0Dscr\0\360\235\222\237\0Dstrok\0Đ\0",
    /* E */
    "ENG\0Ŋ\0!ETH\0Ð\0!Eacute\0É\0Ecaron\0Ě\0!Ecirc\0Ê\0Ecy\0Э\0Edot\0Ė\0Efr\0\360\235\224\210\0"
    "!Egrave\0È\0Element\0∈\0Emacr\0Ē\0EmptySmallSquare\0◻\0EmptyVerySmallSquare\0▫\0Eogon\0Ę\0"
    "Eopf\0\360\235\224\274\0Epsilon\0Ε\0Equal\0⩵\0EqualTilde\0≂\0Equilibrium\0⇌\0Escr\0ℰ\0"
    "Esim\0⩳\0Eta\0Η\0!Euml\0Ë\0Exists\0∃\0ExponentialE\0ⅇ\0",
    /* F */
    "Fcy\0Ф\0Ffr\0\360\235\224\211\0FilledSmallSquare\0◼\0FilledVerySmallSquare\0▪\0"
    "Fopf\0\360\235\224\275\0ForAll\0∀\0Fouriertrf\0ℱ\0Fscr\0ℱ\0",
    /* G */
    "GJcy\0Ѓ\0!GT\0>\0Gamma\0Γ\0Gammad\0Ϝ\0Gbreve\0Ğ\0Gcedil\0Ģ\0Gcirc\0Ĝ\0Gcy\0Г\0Gdot\0Ġ\0"
    "Gfr\0\360\235\224\212\0Gg\0⋙\0Gopf\0\360\235\224\276\0GreaterEqual\0≥\0GreaterEqualLess\0⋛\0"
    "GreaterFullEqual\0≧\0GreaterGreater\0⪢\0GreaterLess\0≷\0GreaterSlantEqual\0⩾\0"
    "GreaterTilde\0≳\0Gscr\0\360\235\222\242\0Gt\0≫\0",
    /* H */
    "HARDcy\0Ъ\0Hacek\0\313\207\0Hat\0^\0Hcirc\0Ĥ\0Hfr\0ℌ\0HilbertSpace\0ℋ\0Hopf\0ℍ\0"
    "HorizontalLine\0─\0Hscr\0ℋ\0Hstrok\0Ħ\0HumpDownHump\0≎\0HumpEqual\0≏\0",
    /* I */
    "IEcy\0Е\0IJlig\0Ĳ\0IOcy\0Ё\0!Iacute\0Í\0!Icirc\0Î\0Icy\0И\0Idot\0İ\0Ifr\0ℑ\0!Igrave\0Ì\0"
    "Im\0ℑ\0Imacr\0Ī\0ImaginaryI\0ⅈ\0Implies\0⇒\0Int\0∬\0Integral\0∫\0Intersection\0⋂\0"
    "InvisibleComma\0\342\201\243\0InvisibleTimes\0\342\201\242\0Iogon\0Į\0"
    "Iopf\0\360\235\225\200\0Iota\0Ι\0Iscr\0ℐ\0Itilde\0Ĩ\0Iukcy\0І\0!Iuml\0Ï\0",
    /* J */
    "Jcirc\0Ĵ\0Jcy\0Й\0Jfr\0\360\235\224\215\0Jopf\0\360\235\225\201\0Jscr\0\360\235\222\245\0"
    "Jsercy\0Ј\0Jukcy\0Є\0",
    /* K */
    "KHcy\0Х\0KJcy\0Ќ\0Kappa\0Κ\0Kcedil\0Ķ\0Kcy\0К\0Kfr\0\360\235\224\216\0"
    "Kopf\0\360\235\225\202\0Kscr\0\360\235\222\246\0",
    /* L */
    "LJcy\0Љ\0!LT\0<\0Lacute\0Ĺ\0Lambda\0Λ\0Lang\0⟪\0Laplacetrf\0ℒ\0Larr\0↞\0Lcaron\0Ľ\0"
    "Lcedil\0Ļ\0Lcy\0Л\0LeftAngleBracket\0⟨\0LeftArrow\0←\0LeftArrowBar\0⇤\0"
    "LeftArrowRightArrow\0⇆\0LeftCeiling\0⌈\0LeftDoubleBracket\0⟦\0LeftDownTeeVector\0⥡\0"
    "LeftDownVector\0⇃\0LeftDownVectorBar\0⥙\0LeftFloor\0⌊\0LeftRightArrow\0↔\0"
    "LeftRightVector\0⥎\0LeftTee\0⊣\0LeftTeeArrow\0↤\0LeftTeeVector\0⥚\0LeftTriangle\0⊲\0"
    "LeftTriangleBar\0⧏\0LeftTriangleEqual\0⊴\0LeftUpDownVector\0⥑\0LeftUpTeeVector\0⥠\0"
    "LeftUpVector\0↿\0LeftUpVectorBar\0⥘\0LeftVector\0↼\0LeftVectorBar\0⥒\0Leftarrow\0⇐\0"
    "Leftrightarrow\0⇔\0LessEqualGreater\0⋚\0LessFullEqual\0≦\0LessGreater\0≶\0LessLess\0⪡\0"
    "LessSlantEqual\0⩽\0LessTilde\0≲\0Lfr\0\360\235\224\217\0Ll\0⋘\0Lleftarrow\0⇚\0Lmidot\0Ŀ\0"
    "LongLeftArrow\0⟵\0LongLeftRightArrow\0⟷\0LongRightArrow\0⟶\0Longleftarrow\0⟸\0"
    "Longleftrightarrow\0⟺\0Longrightarrow\0⟹\0Lopf\0\360\235\225\203\0LowerLeftArrow\0↙\0"
    "LowerRightArrow\0↘\0Lscr\0ℒ\0Lsh\0↰\0Lstrok\0Ł\0Lt\0≪\0",
    /* M */
    "Map\0⤅\0Mcy\0М\0MediumSpace\0\342\201\237\0Mellintrf\0ℳ\0Mfr\0\360\235\224\220\0"
    "MinusPlus\0∓\0Mopf\0\360\235\225\204\0Mscr\0ℳ\0Mu\0Μ\0",
    /* N */
    "NJcy\0Њ\0Nacute\0Ń\0Ncaron\0Ň\0Ncedil\0Ņ\0Ncy\0Н\0NegativeMediumSpace\0\342\200\213\0"
    "NegativeThickSpace\0\342\200\213\0NegativeThinSpace\0\342\200\213\0"
    "NegativeVeryThinSpace\0\342\200\213\0NestedGreaterGreater\0≫\0NestedLessLess\0≪\0"
    "NewLine\0\012\0Nfr\0\360\235\224\221\0NoBreak\0\342\201\240\0NonBreakingSpace\0\302\240\0"
    "Nopf\0ℕ\0Not\0⫬\0NotCongruent\0≢\0NotCupCap\0≭\0NotDoubleVerticalBar\0∦\0NotElement\0∉\0"
    "NotEqual\0≠\0NotEqualTilde\0≂\314\270\0NotExists\0∄\0NotGreater\0≯\0NotGreaterEqual\0≱\0"
    "NotGreaterFullEqual\0≧\314\270\0NotGreaterGreater\0≫\314\270\0NotGreaterLess\0≹\0"
    "NotGreaterSlantEqual\0⩾\314\270\0NotGreaterTilde\0≵\0NotHumpDownHump\0≎\314\270\0"
    "NotHumpEqual\0≏\314\270\0NotLeftTriangle\0⋪\0NotLeftTriangleBar\0⧏\314\270\0"
    "NotLeftTriangleEqual\0⋬\0NotLess\0≮\0NotLessEqual\0≰\0NotLessGreater\0≸\0"
    "NotLessLess\0≪\314\270\0NotLessSlantEqual\0⩽\314\270\0NotLessTilde\0≴\0"
    "NotNestedGreaterGreater\0⪢\314\270\0NotNestedLessLess\0⪡\314\270\0NotPrecedes\0⊀\0"
    "NotPrecedesEqual\0⪯\314\270\0NotPrecedesSlantEqual\0⋠\0NotReverseElement\0∌\0"
    "NotRightTriangle\0⋫\0NotRightTriangleBar\0⧐\314\270\0NotRightTriangleEqual\0⋭\0"
    "NotSquareSubset\0⊏\314\270\0NotSquareSubsetEqual\0⋢\0NotSquareSuperset\0⊐\314\270\0"
    "NotSquareSupersetEqual\0⋣\0NotSubset\0⊂\342\203\222\0NotSubsetEqual\0⊈\0NotSucceeds\0⊁\0"
    "NotSucceedsEqual\0⪰\314\270\0NotSucceedsSlantEqual\0⋡\0NotSucceedsTilde\0≿\314\270\0"
    "NotSuperset\0⊃\342\203\222\0NotSupersetEqual\0⊉\0NotTilde\0≁\0NotTildeEqual\0≄\0"
    "NotTildeFullEqual\0≇\0NotTildeTilde\0≉\0NotVerticalBar\0∤\0Nscr\0\360\235\222\251\0"
    "!Ntilde\0Ñ\0Nu\0Ν\0",
    /* O */
    "OElig\0Œ\0!Oacute\0Ó\0!Ocirc\0Ô\0Ocy\0О\0Odblac\0Ő\0Ofr\0\360\235\224\222\0!Ograve\0Ò\0"
    "Omacr\0Ō\0Omega\0Ω\0Omicron\0Ο\0Oopf\0\360\235\225\206\0OpenCurlyDoubleQuote\0“\0"
    "OpenCurlyQuote\0‘\0Or\0⩔\0Oscr\0\360\235\222\252\0!Oslash\0Ø\0!Otilde\0Õ\0Otimes\0⨷\0"
    "!Ouml\0Ö\0OverBar\0‾\0OverBrace\0⏞\0OverBracket\0⎴\0OverParenthesis\0⏜\0",
    /* P */
    "PartialD\0∂\0Pcy\0П\0Pfr\0\360\235\224\223\0Phi\0Φ\0Pi\0Π\0PlusMinus\0±\0Poincareplane\0ℌ\0"
    "Popf\0ℙ\0Pr\0⪻\0Precedes\0≺\0PrecedesEqual\0⪯\0PrecedesSlantEqual\0≼\0PrecedesTilde\0≾\0"
    "Prime\0″\0Product\0∏\0Proportion\0∷\0Proportional\0∝\0Pscr\0\360\235\222\253\0Psi\0Ψ\0",
    /* Q */
    "!QUOT\0\042\0Qfr\0\360\235\224\224\0Qopf\0ℚ\0Qscr\0\360\235\222\254\0",
    /* R */
    "RBarr\0⤐\0!REG\0®\0Racute\0Ŕ\0Rang\0⟫\0Rarr\0↠\0Rarrtl\0⤖\0Rcaron\0Ř\0Rcedil\0Ŗ\0Rcy\0Р\0"
    "Re\0ℜ\0ReverseElement\0∋\0ReverseEquilibrium\0⇋\0ReverseUpEquilibrium\0⥯\0Rfr\0ℜ\0Rho\0Ρ\0"
    "RightAngleBracket\0⟩\0RightArrow\0→\0RightArrowBar\0⇥\0RightArrowLeftArrow\0⇄\0"
    "RightCeiling\0⌉\0RightDoubleBracket\0⟧\0RightDownTeeVector\0⥝\0RightDownVector\0⇂\0"
    "RightDownVectorBar\0⥕\0RightFloor\0⌋\0RightTee\0⊢\0RightTeeArrow\0↦\0RightTeeVector\0⥛\0"
    "RightTriangle\0⊳\0RightTriangleBar\0⧐\0RightTriangleEqual\0⊵\0RightUpDownVector\0⥏\0"
    "RightUpTeeVector\0⥜\0RightUpVector\0↾\0RightUpVectorBar\0⥔\0RightVector\0⇀\0"
    "RightVectorBar\0⥓\0Rightarrow\0⇒\0Ropf\0ℝ\0RoundImplies\0⥰\0Rrightarrow\0⇛\0Rscr\0ℛ\0"
    "Rsh\0↱\0RuleDelayed\0⧴\0",
    /* S */
    "SHCHcy\0Щ\0SHcy\0Ш\0SOFTcy\0Ь\0Sacute\0Ś\0Sc\0⪼\0Scaron\0Š\0Scedil\0Ş\0Scirc\0Ŝ\0Scy\0С\0"
    "Sfr\0\360\235\224\226\0ShortDownArrow\0↓\0ShortLeftArrow\0←\0ShortRightArrow\0→\0"
    "ShortUpArrow\0↑\0Sigma\0Σ\0SmallCircle\0∘\0Sopf\0\360\235\225\212\0Sqrt\0√\0Square\0□\0"
    "SquareIntersection\0⊓\0SquareSubset\0⊏\0SquareSubsetEqual\0⊑\0SquareSuperset\0⊐\0"
    "SquareSupersetEqual\0⊒\0SquareUnion\0⊔\0Sscr\0\360\235\222\256\0Star\0⋆\0Sub\0⋐\0Subset\0⋐\0"
    "SubsetEqual\0⊆\0Succeeds\0≻\0SucceedsEqual\0⪰\0SucceedsSlantEqual\0≽\0SucceedsTilde\0≿\0"
    "SuchThat\0∋\0Sum\0∑\0Sup\0⋑\0Superset\0⊃\0SupersetEqual\0⊇\0Supset\0⋑\0",
    /* T */
    "!THORN\0Þ\0TRADE\0™\0TSHcy\0Ћ\0TScy\0Ц\0Tab\0\011\0Tau\0Τ\0Tcaron\0Ť\0Tcedil\0Ţ\0Tcy\0Т\0"
    "Tfr\0\360\235\224\227\0Therefore\0∴\0Theta\0Θ\0ThickSpace\0\342\201\237\342\200\212\0"
    "ThinSpace\0\342\200\211\0Tilde\0∼\0TildeEqual\0≃\0TildeFullEqual\0≅\0TildeTilde\0≈\0"
    "Topf\0\360\235\225\213\0TripleDot\0\342\203\233\0Tscr\0\360\235\222\257\0Tstrok\0Ŧ\0",
    /* U */
    "!Uacute\0Ú\0Uarr\0↟\0Uarrocir\0⥉\0Ubrcy\0Ў\0Ubreve\0Ŭ\0!Ucirc\0Û\0Ucy\0У\0Udblac\0Ű\0"
    "Ufr\0\360\235\224\230\0!Ugrave\0Ù\0Umacr\0Ū\0UnderBar\0_\0UnderBrace\0⏟\0UnderBracket\0⎵\0"
    "UnderParenthesis\0⏝\0Union\0⋃\0UnionPlus\0⊎\0Uogon\0Ų\0Uopf\0\360\235\225\214\0UpArrow\0↑\0"
    "UpArrowBar\0⤒\0UpArrowDownArrow\0⇅\0UpDownArrow\0↕\0UpEquilibrium\0⥮\0UpTee\0⊥\0"
    "UpTeeArrow\0↥\0Uparrow\0⇑\0Updownarrow\0⇕\0UpperLeftArrow\0↖\0UpperRightArrow\0↗\0Upsi\0ϒ\0"
    "Upsilon\0Υ\0Uring\0Ů\0Uscr\0\360\235\222\260\0Utilde\0Ũ\0!Uuml\0Ü\0",
    /* V */
    "VDash\0⊫\0Vbar\0⫫\0Vcy\0В\0Vdash\0⊩\0Vdashl\0⫦\0Vee\0⋁\0Verbar\0‖\0Vert\0‖\0VerticalBar\0∣\0"
    "VerticalLine\0|\0VerticalSeparator\0❘\0VerticalTilde\0≀\0VeryThinSpace\0\342\200\212\0"
    "Vfr\0\360\235\224\231\0Vopf\0\360\235\225\215\0Vscr\0\360\235\222\261\0Vvdash\0⊪\0",
    /* W */
    "Wcirc\0Ŵ\0Wedge\0⋀\0Wfr\0\360\235\224\232\0Wopf\0\360\235\225\216\0Wscr\0\360\235\222\262\0",
    /* X */
    "Xfr\0\360\235\224\233\0Xi\0Ξ\0Xopf\0\360\235\225\217\0Xscr\0\360\235\222\263\0",
    /* Y */
    "YAcy\0Я\0YIcy\0Ї\0YUcy\0Ю\0!Yacute\0Ý\0Ycirc\0Ŷ\0Ycy\0Ы\0Yfr\0\360\235\224\234\0"
    "Yopf\0\360\235\225\220\0Yscr\0\360\235\222\264\0Yuml\0Ÿ\0",
    /* Z */
    "ZHcy\0Ж\0Zacute\0Ź\0Zcaron\0Ž\0Zcy\0З\0Zdot\0Ż\0ZeroWidthSpace\0\342\200\213\0Zeta\0Ζ\0"
    "Zfr\0ℨ\0Zopf\0ℤ\0Zscr\0\360\235\222\265\0",
    /* a */
    "!aacute\0á\0abreve\0ă\0ac\0∾\0acE\0∾\314\263\0acd\0∿\0!acirc\0â\0!acute\0´\0acy\0а\0"
    "!aelig\0æ\0af\0\342\201\241\0afr\0\360\235\224\236\0!agrave\0à\0alefsym\0ℵ\0aleph\0ℵ\0"
    "alpha\0α\0amacr\0ā\0amalg\0⨿\0!amp\0&\0and\0∧\0andand\0⩕\0andd\0⩜\0andslope\0⩘\0andv\0⩚\0"
    "ang\0∠\0ange\0⦤\0angle\0∠\0angmsd\0∡\0angmsdaa\0⦨\0angmsdab\0⦩\0angmsdac\0⦪\0angmsdad\0⦫\0"
    "angmsdae\0⦬\0angmsdaf\0⦭\0angmsdag\0⦮\0angmsdah\0⦯\0angrt\0∟\0angrtvb\0⊾\0angrtvbd\0⦝\0"
    "angsph\0∢\0angst\0Å\0angzarr\0⍼\0aogon\0ą\0aopf\0\360\235\225\222\0ap\0≈\0apE\0⩰\0"
    "apacir\0⩯\0ape\0≊\0apid\0≋\0apos\0'\0approx\0≈\0approxeq\0≊\0!aring\0å\0"
    "ascr\0\360\235\222\266\0ast\0*\0asymp\0≈\0asympeq\0≍\0!atilde\0ã\0!auml\0ä\0awconint\0∳\0"
    "awint\0⨑\0",
    /* b */
    "bNot\0⫭\0backcong\0≌\0backepsilon\0϶\0backprime\0‵\0backsim\0∽\0backsimeq\0⋍\0barvee\0⊽\0"
    "barwed\0⌅\0barwedge\0⌅\0bbrk\0⎵\0bbrktbrk\0⎶\0bcong\0≌\0bcy\0б\0bdquo\0„\0becaus\0∵\0"
    "because\0∵\0bemptyv\0⦰\0bepsi\0϶\0bernou\0ℬ\0beta\0β\0beth\0ℶ\0between\0≬\0"
    "bfr\0\360\235\224\237\0bigcap\0⋂\0bigcirc\0◯\0bigcup\0⋃\0bigodot\0⨀\0bigoplus\0⨁\0"
    "bigotimes\0⨂\0bigsqcup\0⨆\0bigstar\0★\0bigtriangledown\0▽\0bigtriangleup\0△\0biguplus\0⨄\0"
    "bigvee\0⋁\0bigwedge\0⋀\0bkarow\0⤍\0blacklozenge\0⧫\0blacksquare\0▪\0blacktriangle\0▴\0"
    "blacktriangledown\0▾\0blacktriangleleft\0◂\0blacktriangleright\0▸\0blank\0␣\0blk12\0▒\0"
    "blk14\0░\0blk34\0▓\0block\0█\0bne\0=\342\203\245\0bnequiv\0≡\342\203\245\0bnot\0⌐\0"
    "bopf\0\360\235\225\223\0bot\0⊥\0bottom\0⊥\0bowtie\0⋈\0boxDL\0╗\0boxDR\0╔\0boxDl\0╖\0"
    "boxDr\0╓\0boxH\0═\0boxHD\0╦\0boxHU\0╩\0boxHd\0╤\0boxHu\0╧\0boxUL\0╝\0boxUR\0╚\0boxUl\0╜\0"
    "boxUr\0╙\0boxV\0║\0boxVH\0╬\0boxVL\0╣\0boxVR\0╠\0boxVh\0╫\0boxVl\0╢\0boxVr\0╟\0boxbox\0⧉\0"
    "boxdL\0╕\0boxdR\0╒\0boxdl\0┐\0boxdr\0┌\0boxh\0─\0boxhD\0╥\0boxhU\0╨\0boxhd\0┬\0boxhu\0┴\0"
    "boxminus\0⊟\0boxplus\0⊞\0boxtimes\0⊠\0boxuL\0╛\0boxuR\0╘\0boxul\0┘\0boxur\0└\0boxv\0│\0"
    "boxvH\0╪\0boxvL\0╡\0boxvR\0╞\0boxvh\0┼\0boxvl\0┤\0boxvr\0├\0bprime\0‵\0breve\0˘\0"
    "!brvbar\0¦\0bscr\0\360\235\222\267\0bsemi\0⁏\0bsim\0∽\0bsime\0⋍\0bsol\0\134\0bsolb\0⧅\0"
    "bsolhsub\0⟈\0bull\0•\0bullet\0•\0bump\0≎\0bumpE\0⪮\0bumpe\0≏\0bumpeq\0≏\0",
    /* c */
    "cacute\0ć\0cap\0∩\0capand\0⩄\0capbrcup\0⩉\0capcap\0⩋\0capcup\0⩇\0capdot\0⩀\0"
    "caps\0∩\357\270\200\0caret\0⁁\0caron\0\313\207\0ccaps\0⩍\0ccaron\0č\0!ccedil\0ç\0ccirc\0ĉ\0"
    "ccups\0⩌\0ccupssm\0⩐\0cdot\0ċ\0!cedil\0¸\0cemptyv\0⦲\0!cent\0¢\0centerdot\0·\0"
    "cfr\0\360\235\224\240\0chcy\0ч\0check\0✓\0checkmark\0✓\0chi\0χ\0cir\0○\0cirE\0⧃\0"
    "circ\0\313\206\0circeq\0≗\0circlearrowleft\0↺\0circlearrowright\0↻\0circledR\0®\0"
    "circledS\0Ⓢ\0circledast\0⊛\0circledcirc\0⊚\0circleddash\0⊝\0cire\0≗\0cirfnint\0⨐\0"
    "cirmid\0⫯\0cirscir\0⧂\0clubs\0♣\0clubsuit\0♣\0colon\0:\0colone\0≔\0coloneq\0≔\0comma\0,\0"
    "commat\0@\0comp\0∁\0compfn\0∘\0complement\0∁\0complexes\0ℂ\0cong\0≅\0congdot\0⩭\0conint\0∮\0"
    "copf\0\360\235\225\224\0coprod\0∐\0!copy\0©\0copysr\0℗\0crarr\0↵\0cross\0✗\0"
    "cscr\0\360\235\222\270\0csub\0⫏\0csube\0⫑\0csup\0⫐\0csupe\0⫒\0ctdot\0⋯\0cudarrl\0⤸\0"
    "cudarrr\0⤵\0cuepr\0⋞\0cuesc\0⋟\0cularr\0↶\0cularrp\0⤽\0cup\0∪\0cupbrcap\0⩈\0cupcap\0⩆\0"
    "cupcup\0⩊\0cupdot\0⊍\0cupor\0⩅\0cups\0∪\357\270\200\0curarr\0↷\0curarrm\0⤼\0curlyeqprec\0⋞\0"
    "curlyeqsucc\0⋟\0curlyvee\0⋎\0curlywedge\0⋏\0!curren\0¤\0curvearrowleft\0↶\0"
    "curvearrowright\0↷\0cuvee\0⋎\0cuwed\0⋏\0cwconint\0∲\0cwint\0∱\0cylcty\0⌭\0",
    /* d */
    "dArr\0⇓\0dHar\0⥥\0dagger\0†\0daleth\0ℸ\0darr\0↓\0dash\0‐\0dashv\0⊣\0dbkarow\0⤏\0dblac\0˝\0"
    "dcaron\0ď\0dcy\0д\0dd\0ⅆ\0ddagger\0‡\0ddarr\0⇊\0ddotseq\0⩷\0!deg\0°\0delta\0δ\0demptyv\0⦱\0"
    "dfisht\0⥿\0dfr\0\360\235\224\241\0dharl\0⇃\0dharr\0⇂\0diam\0⋄\0diamond\0⋄\0diamondsuit\0♦\0"
    "diams\0♦\0die\0¨\0digamma\0ϝ\0disin\0⋲\0div\0÷\0!divide\0÷\0divideontimes\0⋇\0divonx\0⋇\0"
    "djcy\0ђ\0dlcorn\0⌞\0dlcrop\0⌍\0dollar\0$\0dopf\0\360\235\225\225\0dot\0˙\0doteq\0≐\0"
    "doteqdot\0≑\0dotminus\0∸\0dotplus\0∔\0dotsquare\0⊡\0doublebarwedge\0⌆\0downarrow\0↓\0"
    "downdownarrows\0⇊\0downharpoonleft\0⇃\0downharpoonright\0⇂\0drbkarow\0⤐\0drcorn\0⌟\0"
    "drcrop\0⌌\0dscr\0\360\235\222\271\0dscy\0ѕ\0dsol\0⧶\0dstrok\0đ\0dtdot\0⋱\0dtri\0▿\0"
    "dtrif\0▾\0duarr\0⇵\0duhar\0⥯\0dwangle\0⦦\0dzcy\0џ\0dzigrarr\0⟿\0",
    /* e */
    "eDDot\0⩷\0eDot\0≑\0!eacute\0é\0easter\0⩮\0ecaron\0ě\0ecir\0≖\0!ecirc\0ê\0ecolon\0≕\0ecy\0э\0"
    "edot\0ė\0ee\0ⅇ\0efDot\0≒\0efr\0\360\235\224\242\0eg\0⪚\0!egrave\0è\0egs\0⪖\0egsdot\0⪘\0"
    "el\0⪙\0elinters\0⏧\0ell\0ℓ\0els\0⪕\0elsdot\0⪗\0emacr\0ē\0empty\0∅\0emptyset\0∅\0emptyv\0∅\0"
    "emsp\0\342\200\203\0emsp13\0\342\200\204\0emsp14\0\342\200\205\0eng\0ŋ\0ensp\0\342\200\202\0"
    "eogon\0ę\0eopf\0\360\235\225\226\0epar\0⋕\0eparsl\0⧣\0eplus\0⩱\0epsi\0ε\0epsilon\0ε\0"
    "epsiv\0ϵ\0eqcirc\0≖\0eqcolon\0≕\0eqsim\0≂\0eqslantgtr\0⪖\0eqslantless\0⪕\0equals\0=\0"
    "equest\0≟\0equiv\0≡\0equivDD\0⩸\0eqvparsl\0⧥\0erDot\0≓\0erarr\0⥱\0escr\0ℯ\0esdot\0≐\0"
    "esim\0≂\0eta\0η\0!eth\0ð\0!euml\0ë\0euro\0€\0excl\0!\0exist\0∃\0expectation\0ℰ\0"
    "exponentiale\0ⅇ\0",
    /* f */
    "fallingdotseq\0≒\0fcy\0ф\0female\0♀\0ffilig\0ﬃ\0fflig\0ﬀ\0ffllig\0ﬄ\0ffr\0\360\235\224\243\0"
    "filig\0ﬁ\0fjlig\0fj\0flat\0♭\0fllig\0ﬂ\0fltns\0▱\0fnof\0ƒ\0fopf\0\360\235\225\227\0"
    "forall\0∀\0fork\0⋔\0forkv\0⫙\0fpartint\0⨍\0!frac12\0½\0frac13\0⅓\0!frac14\0¼\0frac15\0⅕\0"
    "frac16\0⅙\0frac18\0⅛\0frac23\0⅔\0frac25\0⅖\0!frac34\0¾\0frac35\0⅗\0frac38\0⅜\0frac45\0⅘\0"
    "frac56\0⅚\0frac58\0⅝\0frac78\0⅞\0frasl\0⁄\0frown\0⌢\0fscr\0\360\235\222\273\0",
    /* g */
    "gE\0≧\0gEl\0⪌\0gacute\0ǵ\0gamma\0γ\0gammad\0ϝ\0gap\0⪆\0gbreve\0ğ\0gcirc\0ĝ\0gcy\0г\0"
    "gdot\0ġ\0ge\0≥\0gel\0⋛\0geq\0≥\0geqq\0≧\0geqslant\0⩾\0ges\0⩾\0gescc\0⪩\0gesdot\0⪀\0"
    "gesdoto\0⪂\0gesdotol\0⪄\0gesl\0⋛\357\270\200\0gesles\0⪔\0gfr\0\360\235\224\244\0gg\0≫\0"
    "ggg\0⋙\0gimel\0ℷ\0gjcy\0ѓ\0gl\0≷\0glE\0⪒\0gla\0⪥\0glj\0⪤\0gnE\0≩\0gnap\0⪊\0gnapprox\0⪊\0"
    "gne\0⪈\0gneq\0⪈\0gneqq\0≩\0gnsim\0⋧\0gopf\0\360\235\225\230\0grave\0`\0gscr\0ℊ\0gsim\0≳\0"
    "gsime\0⪎\0gsiml\0⪐\0!gt\0>\0gtcc\0⪧\0gtcir\0⩺\0gtdot\0⋗\0gtlPar\0⦕\0gtquest\0⩼\0"
    "gtrapprox\0⪆\0gtrarr\0⥸\0gtrdot\0⋗\0gtreqless\0⋛\0gtreqqless\0⪌\0gtrless\0≷\0gtrsim\0≳\0"
    "gvertneqq\0≩\357\270\200\0gvnE\0≩\357\270\200\0",
    /* h */
    "hArr\0⇔\0hairsp\0\342\200\212\0half\0½\0hamilt\0ℋ\0hardcy\0ъ\0harr\0↔\0harrcir\0⥈\0"
    "harrw\0↭\0hbar\0ℏ\0hcirc\0ĥ\0hearts\0♥\0heartsuit\0♥\0hellip\0…\0hercon\0⊹\0"
    "hfr\0\360\235\224\245\0hksearow\0⤥\0hkswarow\0⤦\0hoarr\0⇿\0homtht\0∻\0hookleftarrow\0↩\0"
    "hookrightarrow\0↪\0hopf\0\360\235\225\231\0horbar\0―\0hscr\0\360\235\222\275\0hslash\0ℏ\0"
    "hstrok\0ħ\0hybull\0⁃\0hyphen\0‐\0",
    /* i */
    "!iacute\0í\0ic\0\342\201\243\0!icirc\0î\0icy\0и\0iecy\0е\0!iexcl\0¡\0iff\0⇔\0"
    "ifr\0\360\235\224\246\0!igrave\0ì\0ii\0ⅈ\0iiiint\0⨌\0iiint\0∭\0iinfin\0⧜\0iiota\0℩\0"
    "ijlig\0ĳ\0imacr\0ī\0image\0ℑ\0imagline\0ℐ\0imagpart\0ℑ\0imath\0ı\0imof\0⊷\0imped\0Ƶ\0in\0∈\0"
    "incare\0℅\0infin\0∞\0infintie\0⧝\0inodot\0ı\0int\0∫\0intcal\0⊺\0integers\0ℤ\0intercal\0⊺\0"
    "intlarhk\0⨗\0intprod\0⨼\0iocy\0ё\0iogon\0į\0iopf\0\360\235\225\232\0iota\0ι\0iprod\0⨼\0"
    "!iquest\0¿\0iscr\0\360\235\222\276\0isin\0∈\0isinE\0⋹\0isindot\0⋵\0isins\0⋴\0isinsv\0⋳\0"
    "isinv\0∈\0it\0\342\201\242\0itilde\0ĩ\0iukcy\0і\0!iuml\0ï\0",
    /* j */
    "jcirc\0ĵ\0jcy\0й\0jfr\0\360\235\224\247\0jmath\0ȷ\0jopf\0\360\235\225\233\0"
    "jscr\0\360\235\222\277\0jsercy\0ј\0jukcy\0є\0",
    /* k */
    "kappa\0κ\0kappav\0ϰ\0kcedil\0ķ\0kcy\0к\0kfr\0\360\235\224\250\0kgreen\0ĸ\0khcy\0х\0kjcy\0ќ\0"
    "kopf\0\360\235\225\234\0kscr\0\360\235\223\200\0",
    /* l */
    "lAarr\0⇚\0lArr\0⇐\0lAtail\0⤛\0lBarr\0⤎\0lE\0≦\0lEg\0⪋\0lHar\0⥢\0lacute\0ĺ\0laemptyv\0⦴\0"
    "lagran\0ℒ\0lambda\0λ\0lang\0⟨\0langd\0⦑\0langle\0⟨\0lap\0⪅\0!laquo\0«\0larr\0←\0larrb\0⇤\0"
    "larrbfs\0⤟\0larrfs\0⤝\0larrhk\0↩\0larrlp\0↫\0larrpl\0⤹\0larrsim\0⥳\0larrtl\0↢\0lat\0⪫\0"
    "latail\0⤙\0late\0⪭\0lates\0⪭\357\270\200\0lbarr\0⤌\0lbbrk\0❲\0lbrace\0{\0lbrack\0[\0"
    "lbrke\0⦋\0lbrksld\0⦏\0lbrkslu\0⦍\0lcaron\0ľ\0lcedil\0ļ\0lceil\0⌈\0lcub\0{\0lcy\0л\0ldca\0⤶\0"
    "ldquo\0“\0ldquor\0„\0ldrdhar\0⥧\0ldrushar\0⥋\0ldsh\0↲\0le\0≤\0leftarrow\0←\0"
    "leftarrowtail\0↢\0leftharpoondown\0↽\0leftharpoonup\0↼\0leftleftarrows\0⇇\0"
    "leftrightarrow\0↔\0leftrightarrows\0⇆\0leftrightharpoons\0⇋\0leftrightsquigarrow\0↭\0"
    "leftthreetimes\0⋋\0leg\0⋚\0leq\0≤\0leqq\0≦\0leqslant\0⩽\0les\0⩽\0lescc\0⪨\0lesdot\0⩿\0"
    "lesdoto\0⪁\0lesdotor\0⪃\0lesg\0⋚\357\270\200\0lesges\0⪓\0lessapprox\0⪅\0lessdot\0⋖\0"
    "lesseqgtr\0⋚\0lesseqqgtr\0⪋\0lessgtr\0≶\0lesssim\0≲\0lfisht\0⥼\0lfloor\0⌊\0"
    "lfr\0\360\235\224\251\0lg\0≶\0lgE\0⪑\0lhard\0↽\0lharu\0↼\0lharul\0⥪\0lhblk\0▄\0ljcy\0љ\0"
    "ll\0≪\0llarr\0⇇\0llcorner\0⌞\0llhard\0⥫\0lltri\0◺\0lmidot\0ŀ\0lmoust\0⎰\0lmoustache\0⎰\0"
    "lnE\0≨\0lnap\0⪉\0lnapprox\0⪉\0lne\0⪇\0lneq\0⪇\0lneqq\0≨\0lnsim\0⋦\0loang\0⟬\0loarr\0⇽\0"
    "lobrk\0⟦\0longleftarrow\0⟵\0longleftrightarrow\0⟷\0longmapsto\0⟼\0longrightarrow\0⟶\0"
    "looparrowleft\0↫\0looparrowright\0↬\0lopar\0⦅\0lopf\0\360\235\225\235\0loplus\0⨭\0"
    "lotimes\0⨴\0lowast\0∗\0lowbar\0_\0loz\0◊\0lozenge\0◊\0lozf\0⧫\0lpar\0(\0lparlt\0⦓\0"
    "lrarr\0⇆\0lrcorner\0⌟\0lrhar\0⇋\0lrhard\0⥭\0lrm\0\342\200\216\0lrtri\0⊿\0lsaquo\0‹\0"
    "lscr\0\360\235\223\201\0lsh\0↰\0lsim\0≲\0lsime\0⪍\0lsimg\0⪏\0lsqb\0[\0lsquo\0‘\0lsquor\0‚\0"
    "lstrok\0ł\0!lt\0<\0ltcc\0⪦\0ltcir\0⩹\0ltdot\0⋖\0lthree\0⋋\0ltimes\0⋉\0ltlarr\0⥶\0"
    "ltquest\0⩻\0ltrPar\0⦖\0ltri\0◃\0ltrie\0⊴\0ltrif\0◂\0lurdshar\0⥊\0luruhar\0⥦\0"
    "lvertneqq\0≨\357\270\200\0lvnE\0≨\357\270\200\0",
    /* m */
    "mDDot\0∺\0!macr\0¯\0male\0♂\0malt\0✠\0maltese\0✠\0map\0↦\0mapsto\0↦\0mapstodown\0↧\0"
    "mapstoleft\0↤\0mapstoup\0↥\0marker\0▮\0mcomma\0⨩\0mcy\0м\0mdash\0—\0measuredangle\0∡\0"
    "mfr\0\360\235\224\252\0mho\0℧\0!micro\0µ\0mid\0∣\0midast\0*\0midcir\0⫰\0!middot\0·\0"
    "minus\0−\0minusb\0⊟\0minusd\0∸\0minusdu\0⨪\0mlcp\0⫛\0mldr\0…\0mnplus\0∓\0models\0⊧\0"
    "mopf\0\360\235\225\236\0mp\0∓\0mscr\0\360\235\223\202\0mstpos\0∾\0mu\0μ\0multimap\0⊸\0"
    "mumap\0⊸\0",
    /* n */
    "nGg\0⋙\314\270\0nGt\0≫\342\203\222\0nGtv\0≫\314\270\0nLeftarrow\0⇍\0nLeftrightarrow\0⇎\0"
    "nLl\0⋘\314\270\0nLt\0≪\342\203\222\0nLtv\0≪\314\270\0nRightarrow\0⇏\0nVDash\0⊯\0nVdash\0⊮\0"
    "nabla\0∇\0nacute\0ń\0nang\0∠\342\203\222\0nap\0≉\0napE\0⩰\314\270\0napid\0≋\314\270\0"
    "napos\0ŉ\0napprox\0≉\0natur\0♮\0natural\0♮\0naturals\0ℕ\0!nbsp\0\302\240\0nbump\0≎\314\270\0"
    "nbumpe\0≏\314\270\0ncap\0⩃\0ncaron\0ň\0ncedil\0ņ\0ncong\0≇\0ncongdot\0⩭\314\270\0ncup\0⩂\0"
    "ncy\0н\0ndash\0–\0ne\0≠\0neArr\0⇗\0nearhk\0⤤\0nearr\0↗\0nearrow\0↗\0nedot\0≐\314\270\0"
    "nequiv\0≢\0nesear\0⤨\0nesim\0≂\314\270\0nexist\0∄\0nexists\0∄\0nfr\0\360\235\224\253\0"
    "ngE\0≧\314\270\0nge\0≱\0ngeq\0≱\0ngeqq\0≧\314\270\0ngeqslant\0⩾\314\270\0nges\0⩾\314\270\0"
    "ngsim\0≵\0ngt\0≯\0ngtr\0≯\0nhArr\0⇎\0nharr\0↮\0nhpar\0⫲\0ni\0∋\0nis\0⋼\0nisd\0⋺\0niv\0∋\0"
    "njcy\0њ\0nlArr\0⇍\0nlE\0≦\314\270\0nlarr\0↚\0nldr\0‥\0nle\0≰\0nleftarrow\0↚\0"
    "nleftrightarrow\0↮\0nleq\0≰\0nleqq\0≦\314\270\0nleqslant\0⩽\314\270\0nles\0⩽\314\270\0"
    "nless\0≮\0nlsim\0≴\0nlt\0≮\0nltri\0⋪\0nltrie\0⋬\0nmid\0∤\0nopf\0\360\235\225\237\0!not\0¬\0"
    "notin\0∉\0notinE\0⋹\314\270\0notindot\0⋵\314\270\0notinva\0∉\0notinvb\0⋷\0notinvc\0⋶\0"
    "notni\0∌\0notniva\0∌\0notnivb\0⋾\0notnivc\0⋽\0npar\0∦\0nparallel\0∦\0nparsl\0⫽\342\203\245\0"
    "npart\0∂\314\270\0npolint\0⨔\0npr\0⊀\0nprcue\0⋠\0npre\0⪯\314\270\0nprec\0⊀\0"
    "npreceq\0⪯\314\270\0nrArr\0⇏\0nrarr\0↛\0nrarrc\0⤳\314\270\0nrarrw\0↝\314\270\0"
    "nrightarrow\0↛\0nrtri\0⋫\0nrtrie\0⋭\0nsc\0⊁\0nsccue\0⋡\0nsce\0⪰\314\270\0"
    "nscr\0\360\235\223\203\0nshortmid\0∤\0nshortparallel\0∦\0nsim\0≁\0nsime\0≄\0nsimeq\0≄\0"
    "nsmid\0∤\0nspar\0∦\0nsqsube\0⋢\0nsqsupe\0⋣\0nsub\0⊄\0nsubE\0⫅\314\270\0nsube\0⊈\0"
    "nsubset\0⊂\342\203\222\0nsubseteq\0⊈\0nsubseteqq\0⫅\314\270\0nsucc\0⊁\0nsucceq\0⪰\314\270\0"
    "nsup\0⊅\0nsupE\0⫆\314\270\0nsupe\0⊉\0nsupset\0⊃\342\203\222\0nsupseteq\0⊉\0"
    "nsupseteqq\0⫆\314\270\0ntgl\0≹\0!ntilde\0ñ\0ntlg\0≸\0ntriangleleft\0⋪\0ntrianglelefteq\0⋬\0"
    "ntriangleright\0⋫\0ntrianglerighteq\0⋭\0nu\0ν\0num\0#\0numero\0№\0numsp\0\342\200\207\0"
    "nvDash\0⊭\0nvHarr\0⤄\0nvap\0≍\342\203\222\0nvdash\0⊬\0nvge\0≥\342\203\222\0"
    "nvgt\0>\342\203\222\0nvinfin\0⧞\0nvlArr\0⤂\0nvle\0≤\342\203\222\0nvlt\0<\342\203\222\0"
    "nvltrie\0⊴\342\203\222\0nvrArr\0⤃\0nvrtrie\0⊵\342\203\222\0nvsim\0∼\342\203\222\0nwArr\0⇖\0"
    "nwarhk\0⤣\0nwarr\0↖\0nwarrow\0↖\0nwnear\0⤧\0",
    /* o */
    "oS\0Ⓢ\0!oacute\0ó\0oast\0⊛\0ocir\0⊚\0!ocirc\0ô\0ocy\0о\0odash\0⊝\0odblac\0ő\0odiv\0⨸\0"
    "odot\0⊙\0odsold\0⦼\0oelig\0œ\0ofcir\0⦿\0ofr\0\360\235\224\254\0ogon\0˛\0!ograve\0ò\0ogt\0⧁\0"
    "ohbar\0⦵\0ohm\0Ω\0oint\0∮\0olarr\0↺\0olcir\0⦾\0olcross\0⦻\0oline\0‾\0olt\0⧀\0omacr\0ō\0"
    "omega\0ω\0omicron\0ο\0omid\0⦶\0ominus\0⊖\0oopf\0\360\235\225\240\0opar\0⦷\0operp\0⦹\0"
    "oplus\0⊕\0or\0∨\0orarr\0↻\0ord\0⩝\0order\0ℴ\0orderof\0ℴ\0!ordf\0ª\0!ordm\0º\0origof\0⊶\0"
    "oror\0⩖\0orslope\0⩗\0orv\0⩛\0oscr\0ℴ\0!oslash\0ø\0osol\0⊘\0!otilde\0õ\0otimes\0⊗\0"
    "otimesas\0⨶\0!ouml\0ö\0ovbar\0⌽\0",
    /* p */
    "par\0∥\0!para\0¶\0parallel\0∥\0parsim\0⫳\0parsl\0⫽\0part\0∂\0pcy\0п\0percnt\0%\0period\0.\0"
    "permil\0‰\0perp\0⊥\0pertenk\0‱\0pfr\0\360\235\224\255\0phi\0φ\0phiv\0ϕ\0phmmat\0ℳ\0"
    "phone\0☎\0pi\0π\0pitchfork\0⋔\0piv\0ϖ\0planck\0ℏ\0planckh\0ℎ\0plankv\0ℏ\0plus\0+\0"
    "plusacir\0⨣\0plusb\0⊞\0pluscir\0⨢\0plusdo\0∔\0plusdu\0⨥\0pluse\0⩲\0!plusmn\0±\0plussim\0⨦\0"
    "plustwo\0⨧\0pm\0±\0pointint\0⨕\0popf\0\360\235\225\241\0!pound\0£\0pr\0≺\0prE\0⪳\0prap\0⪷\0"
    "prcue\0≼\0pre\0⪯\0prec\0≺\0precapprox\0⪷\0preccurlyeq\0≼\0preceq\0⪯\0precnapprox\0⪹\0"
    "precneqq\0⪵\0precnsim\0⋨\0precsim\0≾\0prime\0′\0primes\0ℙ\0prnE\0⪵\0prnap\0⪹\0prnsim\0⋨\0"
    "prod\0∏\0profalar\0⌮\0profline\0⌒\0profsurf\0⌓\0prop\0∝\0propto\0∝\0prsim\0≾\0prurel\0⊰\0"
    "pscr\0\360\235\223\205\0psi\0ψ\0puncsp\0\342\200\210\0",
    /* q */
    "qfr\0\360\235\224\256\0qint\0⨌\0qopf\0\360\235\225\242\0qprime\0⁗\0qscr\0\360\235\223\206\0"
    "quaternions\0ℍ\0quatint\0⨖\0quest\0\077\0questeq\0≟\0!quot\0\042\0",
    /* r */
    "rAarr\0⇛\0rArr\0⇒\0rAtail\0⤜\0rBarr\0⤏\0rHar\0⥤\0race\0∽\314\261\0racute\0ŕ\0radic\0√\0"
    "raemptyv\0⦳\0rang\0⟩\0rangd\0⦒\0range\0⦥\0rangle\0⟩\0!raquo\0»\0rarr\0→\0rarrap\0⥵\0"
    "rarrb\0⇥\0rarrbfs\0⤠\0rarrc\0⤳\0rarrfs\0⤞\0rarrhk\0↪\0rarrlp\0↬\0rarrpl\0⥅\0rarrsim\0⥴\0"
    "rarrtl\0↣\0rarrw\0↝\0ratail\0⤚\0ratio\0∶\0rationals\0ℚ\0rbarr\0⤍\0rbbrk\0❳\0rbrace\0}\0"
    "rbrack\0]\0rbrke\0⦌\0rbrksld\0⦎\0rbrkslu\0⦐\0rcaron\0ř\0rcedil\0ŗ\0rceil\0⌉\0rcub\0}\0"
    "rcy\0р\0rdca\0⤷\0rdldhar\0⥩\0rdquo\0”\0rdquor\0”\0rdsh\0↳\0real\0ℜ\0realine\0ℛ\0"
    "realpart\0ℜ\0reals\0ℝ\0rect\0▭\0!reg\0®\0rfisht\0⥽\0rfloor\0⌋\0rfr\0\360\235\224\257\0"
    "rhard\0⇁\0rharu\0⇀\0rharul\0⥬\0rho\0ρ\0rhov\0ϱ\0rightarrow\0→\0rightarrowtail\0↣\0"
    "rightharpoondown\0⇁\0rightharpoonup\0⇀\0rightleftarrows\0⇄\0rightleftharpoons\0⇌\0"
    "rightrightarrows\0⇉\0rightsquigarrow\0↝\0rightthreetimes\0⋌\0ring\0˚\0risingdotseq\0≓\0"
    "rlarr\0⇄\0rlhar\0⇌\0rlm\0\342\200\217\0rmoust\0⎱\0rmoustache\0⎱\0rnmid\0⫮\0roang\0⟭\0"
    "roarr\0⇾\0robrk\0⟧\0ropar\0⦆\0ropf\0\360\235\225\243\0roplus\0⨮\0rotimes\0⨵\0rpar\0)\0"
    "rpargt\0⦔\0rppolint\0⨒\0rrarr\0⇉\0rsaquo\0›\0rscr\0\360\235\223\207\0rsh\0↱\0rsqb\0]\0"
    "rsquo\0’\0rsquor\0’\0rthree\0⋌\0rtimes\0⋊\0rtri\0▹\0rtrie\0⊵\0rtrif\0▸\0rtriltri\0⧎\0"
    "ruluhar\0⥨\0rx\0℞\0",
    /* s */
    "sacute\0ś\0sbquo\0‚\0sc\0≻\0scE\0⪴\0scap\0⪸\0scaron\0š\0sccue\0≽\0sce\0⪰\0scedil\0ş\0"
    "scirc\0ŝ\0scnE\0⪶\0scnap\0⪺\0scnsim\0⋩\0scpolint\0⨓\0scsim\0≿\0scy\0с\0sdot\0⋅\0sdotb\0⊡\0"
    "sdote\0⩦\0seArr\0⇘\0searhk\0⤥\0searr\0↘\0searrow\0↘\0!sect\0§\0semi\0;\0seswar\0⤩\0"
    "setminus\0∖\0setmn\0∖\0sext\0✶\0sfr\0\360\235\224\260\0sfrown\0⌢\0sharp\0♯\0shchcy\0щ\0"
    "shcy\0ш\0shortmid\0∣\0shortparallel\0∥\0!shy\0\302\255\0sigma\0σ\0sigmaf\0ς\0sigmav\0ς\0"
    "sim\0∼\0simdot\0⩪\0sime\0≃\0simeq\0≃\0simg\0⪞\0simgE\0⪠\0siml\0⪝\0simlE\0⪟\0simne\0≆\0"
    "simplus\0⨤\0simrarr\0⥲\0slarr\0←\0smallsetminus\0∖\0smashp\0⨳\0smeparsl\0⧤\0smid\0∣\0"
    "smile\0⌣\0smt\0⪪\0smte\0⪬\0smtes\0⪬\357\270\200\0softcy\0ь\0sol\0/\0solb\0⧄\0solbar\0⌿\0"
    "sopf\0\360\235\225\244\0spades\0♠\0spadesuit\0♠\0spar\0∥\0sqcap\0⊓\0sqcaps\0⊓\357\270\200\0"
    "sqcup\0⊔\0sqcups\0⊔\357\270\200\0sqsub\0⊏\0sqsube\0⊑\0sqsubset\0⊏\0sqsubseteq\0⊑\0sqsup\0⊐\0"
    "sqsupe\0⊒\0sqsupset\0⊐\0sqsupseteq\0⊒\0squ\0□\0square\0□\0squarf\0▪\0squf\0▪\0srarr\0→\0"
    "sscr\0\360\235\223\210\0ssetmn\0∖\0ssmile\0⌣\0sstarf\0⋆\0star\0☆\0starf\0★\0"
    "straightepsilon\0ϵ\0straightphi\0ϕ\0strns\0¯\0sub\0⊂\0subE\0⫅\0subdot\0⪽\0sube\0⊆\0"
    "subedot\0⫃\0submult\0⫁\0subnE\0⫋\0subne\0⊊\0subplus\0⪿\0subrarr\0⥹\0subset\0⊂\0subseteq\0⊆\0"
    "subseteqq\0⫅\0subsetneq\0⊊\0subsetneqq\0⫋\0subsim\0⫇\0subsub\0⫕\0subsup\0⫓\0succ\0≻\0"
    "succapprox\0⪸\0succcurlyeq\0≽\0succeq\0⪰\0succnapprox\0⪺\0succneqq\0⪶\0succnsim\0⋩\0"
    "succsim\0≿\0sum\0∑\0sung\0♪\0sup\0⊃\0!sup1\0¹\0!sup2\0²\0!sup3\0³\0supE\0⫆\0supdot\0⪾\0"
    "supdsub\0⫘\0supe\0⊇\0supedot\0⫄\0suphsol\0⟉\0suphsub\0⫗\0suplarr\0⥻\0supmult\0⫂\0supnE\0⫌\0"
    "supne\0⊋\0supplus\0⫀\0supset\0⊃\0supseteq\0⊇\0supseteqq\0⫆\0supsetneq\0⊋\0supsetneqq\0⫌\0"
    "supsim\0⫈\0supsub\0⫔\0supsup\0⫖\0swArr\0⇙\0swarhk\0⤦\0swarr\0↙\0swarrow\0↙\0swnwar\0⤪\0"
    "!szlig\0ß\0",
    /* t */
    "target\0⌖\0tau\0τ\0tbrk\0⎴\0tcaron\0ť\0tcedil\0ţ\0tcy\0т\0tdot\0\342\203\233\0telrec\0⌕\0"
    "tfr\0\360\235\224\261\0there4\0∴\0therefore\0∴\0theta\0θ\0thetasym\0ϑ\0thetav\0ϑ\0"
    "thickapprox\0≈\0thicksim\0∼\0thinsp\0\342\200\211\0thkap\0≈\0thksim\0∼\0!thorn\0þ\0"
    "tilde\0˜\0!times\0×\0timesb\0⊠\0timesbar\0⨱\0timesd\0⨰\0tint\0∭\0toea\0⤨\0top\0⊤\0"
    "topbot\0⌶\0topcir\0⫱\0topf\0\360\235\225\245\0topfork\0⫚\0tosa\0⤩\0tprime\0‴\0trade\0™\0"
    "triangle\0▵\0triangledown\0▿\0triangleleft\0◃\0trianglelefteq\0⊴\0triangleq\0≜\0"
    "triangleright\0▹\0trianglerighteq\0⊵\0tridot\0◬\0trie\0≜\0triminus\0⨺\0triplus\0⨹\0"
    "trisb\0⧍\0tritime\0⨻\0trpezium\0⏢\0tscr\0\360\235\223\211\0tscy\0ц\0tshcy\0ћ\0tstrok\0ŧ\0"
    "twixt\0≬\0twoheadleftarrow\0↞\0twoheadrightarrow\0↠\0",
    /* u */
    "uArr\0⇑\0uHar\0⥣\0!uacute\0ú\0uarr\0↑\0ubrcy\0ў\0ubreve\0ŭ\0!ucirc\0û\0ucy\0у\0udarr\0⇅\0"
    "udblac\0ű\0udhar\0⥮\0ufisht\0⥾\0ufr\0\360\235\224\262\0!ugrave\0ù\0uharl\0↿\0uharr\0↾\0"
    "uhblk\0▀\0ulcorn\0⌜\0ulcorner\0⌜\0ulcrop\0⌏\0ultri\0◸\0umacr\0ū\0!uml\0¨\0uogon\0ų\0"
    "uopf\0\360\235\225\246\0uparrow\0↑\0updownarrow\0↕\0upharpoonleft\0↿\0upharpoonright\0↾\0"
    "uplus\0⊎\0upsi\0υ\0upsih\0ϒ\0upsilon\0υ\0upuparrows\0⇈\0urcorn\0⌝\0urcorner\0⌝\0urcrop\0⌎\0"
    "uring\0ů\0urtri\0◹\0uscr\0\360\235\223\212\0utdot\0⋰\0utilde\0ũ\0utri\0▵\0utrif\0▴\0"
    "uuarr\0⇈\0!uuml\0ü\0uwangle\0⦧\0",
    /* v */
    "vArr\0⇕\0vBar\0⫨\0vBarv\0⫩\0vDash\0⊨\0vangrt\0⦜\0varepsilon\0ϵ\0varkappa\0ϰ\0varnothing\0∅\0"
    "varphi\0ϕ\0varpi\0ϖ\0varpropto\0∝\0varr\0↕\0varrho\0ϱ\0varsigma\0ς\0"
    "varsubsetneq\0⊊\357\270\200\0varsubsetneqq\0⫋\357\270\200\0varsupsetneq\0⊋\357\270\200\0"
    "varsupsetneqq\0⫌\357\270\200\0vartheta\0ϑ\0vartriangleleft\0⊲\0vartriangleright\0⊳\0vcy\0в\0"
    "vdash\0⊢\0vee\0∨\0veebar\0⊻\0veeeq\0≚\0vellip\0⋮\0verbar\0|\0vert\0|\0"
    "vfr\0\360\235\224\263\0vltri\0⊲\0vnsub\0⊂\342\203\222\0vnsup\0⊃\342\203\222\0"
    "vopf\0\360\235\225\247\0vprop\0∝\0vrtri\0⊳\0vscr\0\360\235\223\213\0vsubnE\0⫋\357\270\200\0"
    "vsubne\0⊊\357\270\200\0vsupnE\0⫌\357\270\200\0vsupne\0⊋\357\270\200\0vzigzag\0⦚\0",
    /* w */
    "wcirc\0ŵ\0wedbar\0⩟\0wedge\0∧\0wedgeq\0≙\0weierp\0℘\0wfr\0\360\235\224\264\0"
    "wopf\0\360\235\225\250\0wp\0℘\0wr\0≀\0wreath\0≀\0wscr\0\360\235\223\214\0",
    /* x */
    "xcap\0⋂\0xcirc\0◯\0xcup\0⋃\0xdtri\0▽\0xfr\0\360\235\224\265\0xhArr\0⟺\0xharr\0⟷\0xi\0ξ\0"
    "xlArr\0⟸\0xlarr\0⟵\0xmap\0⟼\0xnis\0⋻\0xodot\0⨀\0xopf\0\360\235\225\251\0xoplus\0⨁\0"
    "xotime\0⨂\0xrArr\0⟹\0xrarr\0⟶\0xscr\0\360\235\223\215\0xsqcup\0⨆\0xuplus\0⨄\0xutri\0△\0"
    "xvee\0⋁\0xwedge\0⋀\0",
    /* y */
    "!yacute\0ý\0yacy\0я\0ycirc\0ŷ\0ycy\0ы\0!yen\0¥\0yfr\0\360\235\224\266\0yicy\0ї\0"
    "yopf\0\360\235\225\252\0yscr\0\360\235\223\216\0yucy\0ю\0!yuml\0ÿ\0",
    /* z */
    "zacute\0ź\0zcaron\0ž\0zcy\0з\0zdot\0ż\0zeetrf\0ℨ\0zeta\0ζ\0zfr\0\360\235\224\267\0zhcy\0ж\0"
    "zigrarr\0⇝\0zopf\0\360\235\225\253\0zscr\0\360\235\223\217\0zwj\0\342\200\215\0"
    "zwnj\0\342\200\214\0",
};

/* Ligatures of Latin letters. */
const sd_clean_map sdi_clean_ligatures[] = {
    {0x0132, {0x0049, 0x004A}}, {0x0133, {0x0069, 0x006A}}, {0x0149, {0x02BC, 0x006E}},
    {0x01C4, {0x0044, 0x017D}}, {0x01C5, {0x0044, 0x017E}}, {0x01C6, {0x0064, 0x017E}},
    {0x01C7, {0x004C, 0x004A}}, {0x01C8, {0x004C, 0x006A}}, {0x01C9, {0x006C, 0x006A}},
    {0x01CA, {0x004E, 0x004A}}, {0x01CB, {0x004E, 0x006A}}, {0x01CC, {0x006E, 0x006A}},
    {0x01F1, {0x0044, 0x005A}}, {0x01F2, {0x0044, 0x007A}}, {0x01F3, {0x0064, 0x007A}},
    {0xFB00, {0x0066, 0x0066}}, {0xFB01, {0x0066, 0x0069}}, {0xFB02, {0x0066, 0x006C}},
    {0xFB03, {0x0066, 0x0066, 0x0069}}, {0xFB04, {0x0066, 0x0066, 0x006C}},
    {0xFB05, {0x017F, 0x0074}}, {0xFB06, {0x0073, 0x0074}},
};
const size_t sdi_clean_ligatures_n = 22;

/* Full and half width. */
const sd_clean_map sdi_clean_widths[] = {
    {0x3000, {0x0020}}, {0xFF01, {0x0021}}, {0xFF02, {0x0022}}, {0xFF03, {0x0023}},
    {0xFF04, {0x0024}}, {0xFF05, {0x0025}}, {0xFF06, {0x0026}}, {0xFF07, {0x0027}},
    {0xFF08, {0x0028}}, {0xFF09, {0x0029}}, {0xFF0A, {0x002A}}, {0xFF0B, {0x002B}},
    {0xFF0C, {0x002C}}, {0xFF0D, {0x002D}}, {0xFF0E, {0x002E}}, {0xFF0F, {0x002F}},
    {0xFF10, {0x0030}}, {0xFF11, {0x0031}}, {0xFF12, {0x0032}}, {0xFF13, {0x0033}},
    {0xFF14, {0x0034}}, {0xFF15, {0x0035}}, {0xFF16, {0x0036}}, {0xFF17, {0x0037}},
    {0xFF18, {0x0038}}, {0xFF19, {0x0039}}, {0xFF1A, {0x003A}}, {0xFF1B, {0x003B}},
    {0xFF1C, {0x003C}}, {0xFF1D, {0x003D}}, {0xFF1E, {0x003E}}, {0xFF1F, {0x003F}},
    {0xFF20, {0x0040}}, {0xFF21, {0x0041}}, {0xFF22, {0x0042}}, {0xFF23, {0x0043}},
    {0xFF24, {0x0044}}, {0xFF25, {0x0045}}, {0xFF26, {0x0046}}, {0xFF27, {0x0047}},
    {0xFF28, {0x0048}}, {0xFF29, {0x0049}}, {0xFF2A, {0x004A}}, {0xFF2B, {0x004B}},
    {0xFF2C, {0x004C}}, {0xFF2D, {0x004D}}, {0xFF2E, {0x004E}}, {0xFF2F, {0x004F}},
    {0xFF30, {0x0050}}, {0xFF31, {0x0051}}, {0xFF32, {0x0052}}, {0xFF33, {0x0053}},
    {0xFF34, {0x0054}}, {0xFF35, {0x0055}}, {0xFF36, {0x0056}}, {0xFF37, {0x0057}},
    {0xFF38, {0x0058}}, {0xFF39, {0x0059}}, {0xFF3A, {0x005A}}, {0xFF3B, {0x005B}},
    {0xFF3C, {0x005C}}, {0xFF3D, {0x005D}}, {0xFF3E, {0x005E}}, {0xFF3F, {0x005F}},
    {0xFF40, {0x0060}}, {0xFF41, {0x0061}}, {0xFF42, {0x0062}}, {0xFF43, {0x0063}},
    {0xFF44, {0x0064}}, {0xFF45, {0x0065}}, {0xFF46, {0x0066}}, {0xFF47, {0x0067}},
    {0xFF48, {0x0068}}, {0xFF49, {0x0069}}, {0xFF4A, {0x006A}}, {0xFF4B, {0x006B}},
    {0xFF4C, {0x006C}}, {0xFF4D, {0x006D}}, {0xFF4E, {0x006E}}, {0xFF4F, {0x006F}},
    {0xFF50, {0x0070}}, {0xFF51, {0x0071}}, {0xFF52, {0x0072}}, {0xFF53, {0x0073}},
    {0xFF54, {0x0074}}, {0xFF55, {0x0075}}, {0xFF56, {0x0076}}, {0xFF57, {0x0077}},
    {0xFF58, {0x0078}}, {0xFF59, {0x0079}}, {0xFF5A, {0x007A}}, {0xFF5B, {0x007B}},
    {0xFF5C, {0x007C}}, {0xFF5D, {0x007D}}, {0xFF5E, {0x007E}}, {0xFF5F, {0x2985}},
    {0xFF60, {0x2986}}, {0xFF61, {0x3002}}, {0xFF62, {0x300C}}, {0xFF63, {0x300D}},
    {0xFF64, {0x3001}}, {0xFF65, {0x30FB}}, {0xFF66, {0x30F2}}, {0xFF67, {0x30A1}},
    {0xFF68, {0x30A3}}, {0xFF69, {0x30A5}}, {0xFF6A, {0x30A7}}, {0xFF6B, {0x30A9}},
    {0xFF6C, {0x30E3}}, {0xFF6D, {0x30E5}}, {0xFF6E, {0x30E7}}, {0xFF6F, {0x30C3}},
    {0xFF70, {0x30FC}}, {0xFF71, {0x30A2}}, {0xFF72, {0x30A4}}, {0xFF73, {0x30A6}},
    {0xFF74, {0x30A8}}, {0xFF75, {0x30AA}}, {0xFF76, {0x30AB}}, {0xFF77, {0x30AD}},
    {0xFF78, {0x30AF}}, {0xFF79, {0x30B1}}, {0xFF7A, {0x30B3}}, {0xFF7B, {0x30B5}},
    {0xFF7C, {0x30B7}}, {0xFF7D, {0x30B9}}, {0xFF7E, {0x30BB}}, {0xFF7F, {0x30BD}},
    {0xFF80, {0x30BF}}, {0xFF81, {0x30C1}}, {0xFF82, {0x30C4}}, {0xFF83, {0x30C6}},
    {0xFF84, {0x30C8}}, {0xFF85, {0x30CA}}, {0xFF86, {0x30CB}}, {0xFF87, {0x30CC}},
    {0xFF88, {0x30CD}}, {0xFF89, {0x30CE}}, {0xFF8A, {0x30CF}}, {0xFF8B, {0x30D2}},
    {0xFF8C, {0x30D5}}, {0xFF8D, {0x30D8}}, {0xFF8E, {0x30DB}}, {0xFF8F, {0x30DE}},
    {0xFF90, {0x30DF}}, {0xFF91, {0x30E0}}, {0xFF92, {0x30E1}}, {0xFF93, {0x30E2}},
    {0xFF94, {0x30E4}}, {0xFF95, {0x30E6}}, {0xFF96, {0x30E8}}, {0xFF97, {0x30E9}},
    {0xFF98, {0x30EA}}, {0xFF99, {0x30EB}}, {0xFF9A, {0x30EC}}, {0xFF9B, {0x30ED}},
    {0xFF9C, {0x30EF}}, {0xFF9D, {0x30F3}}, {0xFF9E, {0x3099}}, {0xFF9F, {0x309A}},
    {0xFFA0, {0x1160}}, {0xFFA1, {0x1100}}, {0xFFA2, {0x1101}}, {0xFFA3, {0x11AA}},
    {0xFFA4, {0x1102}}, {0xFFA5, {0x11AC}}, {0xFFA6, {0x11AD}}, {0xFFA7, {0x1103}},
    {0xFFA8, {0x1104}}, {0xFFA9, {0x1105}}, {0xFFAA, {0x11B0}}, {0xFFAB, {0x11B1}},
    {0xFFAC, {0x11B2}}, {0xFFAD, {0x11B3}}, {0xFFAE, {0x11B4}}, {0xFFAF, {0x11B5}},
    {0xFFB0, {0x111A}}, {0xFFB1, {0x1106}}, {0xFFB2, {0x1107}}, {0xFFB3, {0x1108}},
    {0xFFB4, {0x1121}}, {0xFFB5, {0x1109}}, {0xFFB6, {0x110A}}, {0xFFB7, {0x110B}},
    {0xFFB8, {0x110C}}, {0xFFB9, {0x110D}}, {0xFFBA, {0x110E}}, {0xFFBB, {0x110F}},
    {0xFFBC, {0x1110}}, {0xFFBD, {0x1111}}, {0xFFBE, {0x1112}}, {0xFFC2, {0x1161}},
    {0xFFC3, {0x1162}}, {0xFFC4, {0x1163}}, {0xFFC5, {0x1164}}, {0xFFC6, {0x1165}},
    {0xFFC7, {0x1166}}, {0xFFCA, {0x1167}}, {0xFFCB, {0x1168}}, {0xFFCC, {0x1169}},
    {0xFFCD, {0x116A}}, {0xFFCE, {0x116B}}, {0xFFCF, {0x116C}}, {0xFFD2, {0x116D}},
    {0xFFD3, {0x116E}}, {0xFFD4, {0x116F}}, {0xFFD5, {0x1170}}, {0xFFD6, {0x1171}},
    {0xFFD7, {0x1172}}, {0xFFDA, {0x1173}}, {0xFFDB, {0x1174}}, {0xFFDC, {0x1175}},
    {0xFFE0, {0x00A2}}, {0xFFE1, {0x00A3}}, {0xFFE2, {0x00AC}}, {0xFFE3, {0x0020, 0x0304}},
    {0xFFE4, {0x00A6}}, {0xFFE5, {0x00A5}}, {0xFFE6, {0x20A9}}, {0xFFE8, {0x2502}},
    {0xFFE9, {0x2190}}, {0xFFEA, {0x2191}}, {0xFFEB, {0x2192}}, {0xFFEC, {0x2193}},
    {0xFFED, {0x25A0}}, {0xFFEE, {0x25CB}},
};
const size_t sdi_clean_widths_n = 226;

/* Numbers of characters that HTML has otherwise: 0 and the C1 controls. */
const sd_clean_map sdi_clean_charrefs[] = {
    {0x0000, {0xFFFD}}, {0x000D, {0x000D}}, {0x0080, {0x20AC}}, {0x0081, {0x0081}},
    {0x0082, {0x201A}}, {0x0083, {0x0192}}, {0x0084, {0x201E}}, {0x0085, {0x2026}},
    {0x0086, {0x2020}}, {0x0087, {0x2021}}, {0x0088, {0x02C6}}, {0x0089, {0x2030}},
    {0x008A, {0x0160}}, {0x008B, {0x2039}}, {0x008C, {0x0152}}, {0x008D, {0x008D}},
    {0x008E, {0x017D}}, {0x008F, {0x008F}}, {0x0090, {0x0090}}, {0x0091, {0x2018}},
    {0x0092, {0x2019}}, {0x0093, {0x201C}}, {0x0094, {0x201D}}, {0x0095, {0x2022}},
    {0x0096, {0x2013}}, {0x0097, {0x2014}}, {0x0098, {0x02DC}}, {0x0099, {0x2122}},
    {0x009A, {0x0161}}, {0x009B, {0x203A}}, {0x009C, {0x0153}}, {0x009D, {0x009D}},
    {0x009E, {0x017E}}, {0x009F, {0x0178}},
};
const size_t sdi_clean_charrefs_n = 34;

/* Numbers of references that are dropped. */
const int32_t sdi_clean_no_charrefs[][2] = {
    {0x1, 0x8}, {0xB, 0xB}, {0xE, 0x1F}, {0x7F, 0x9F}, {0xFDD0, 0xFDEF}, {0xFFFE, 0xFFFF},
    {0x1FFFE, 0x1FFFF}, {0x2FFFE, 0x2FFFF}, {0x3FFFE, 0x3FFFF}, {0x4FFFE, 0x4FFFF},
    {0x5FFFE, 0x5FFFF}, {0x6FFFE, 0x6FFFF}, {0x7FFFE, 0x7FFFF}, {0x8FFFE, 0x8FFFF},
    {0x9FFFE, 0x9FFFF}, {0xAFFFE, 0xAFFFF}, {0xBFFFE, 0xBFFFF}, {0xCFFFE, 0xCFFFF},
    {0xDFFFE, 0xDFFFF}, {0xEFFFE, 0xEFFFF}, {0xFFFFE, 0xFFFFF}, {0x10FFFE, 0x10FFFF},
};
const size_t sdi_clean_no_charrefs_n = 22;
/* Control characters that are removed. */
const uint16_t sdi_clean_controls[][2] = {
    {0x0000, 0x0008}, {0x000B, 0x000B}, {0x000E, 0x001F}, {0x007F, 0x007F}, {0x206A, 0x206F},
    {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFC},
};
const size_t sdi_clean_controls_n = 7;

