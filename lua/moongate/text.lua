--- text.lua - moongate.text, with its UTF-8 functions in a table of their own.
local _, text = ...

text.utf8 = { valid = text.utf8_valid, len = text.utf8_len, sub = text.utf8_sub }
text.utf8_valid, text.utf8_len, text.utf8_sub = nil, nil, nil

return text
