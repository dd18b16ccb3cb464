# Quotes, variables, substitution, splitting.
echo one   two 'three   four' "five   six" seven\ eight
x=3; y="a  b"
echo $x ${x}y "$y" $y '$x' \$x "\$x" $nothing "$nothing" end
echo "status $? $(false) $?"
echo $(echo a; echo b) "$(echo a; echo b)" $(echo "nested $(echo inner)")
FOO=bar env | grep FOO
echo "[$FOO]"
export FOO=baz BAR; env | grep FOO; unset FOO; env | grep -c FOO
echo # a comment
echo a#b 'it''s' ""
